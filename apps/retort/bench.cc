// `retort bench train [--peers]`: how fast this machine trains, and how fast others train on it.
#include <cstdio>
#include <string>

#include "base/json.h"
#include "base/text.h"
#include "retort/verb.h"
#include "train/measure.h"
#include "train/memory.h"

namespace retort::app {
namespace {

struct Flags {
  std::string what;
  bool peers = false;
  train::MeasureOptions options;
};

// One JSON line a peer, from the script of the source tree that this program was built from.
Result<Json> measure_peers(Context& context, const Flags& flags, bool on_gpu) {
  const std::string script = std::string(RETORT_BENCHMARKS_DIR) + (on_gpu ? "/peers/gpu_peers.sh" : "/peers/peers.sh");
  std::string arguments;
  if (on_gpu) arguments = flags.options.shape + " " + std::to_string(flags.options.train.tokens_per_step) + " ";
  if (flags.options.layers > 0) arguments += std::to_string(flags.options.layers);  // else the shape's own
  context.progress.note("Measuring the peers: " + script);
  std::FILE* pipe = ::popen(("'" + script + "' " + arguments).c_str(), "r");
  if (pipe == nullptr) return world_error("The peers' script could not be started: " + script);
  std::string output;
  char buffer[512];
  while (std::fgets(buffer, sizeof(buffer), pipe) != nullptr) output += buffer;
  if (::pclose(pipe) != 0) {
    return world_error("The peers' script failed; what it said stands above. It installs them once, by pip: " + script);
  }
  Json peers = Json::array();
  for (std::size_t begin = 0; begin < output.size();) {
    const std::size_t end = std::min(output.find('\n', begin), output.size());
    RETORT_ASSIGN(Json peer, parse_json(std::string_view(output).substr(begin, end - begin), script));
    peers.push_back(std::move(peer));
    begin = end + 1;
  }
  return peers;
}

void print(std::ostream& out, const Flags& flags, const train::TrainMeasurement& ours, const Json& peers) {
  char line[200];
  std::snprintf(line, sizeof(line), "%-56s %10s %10s\n", "", "tokens/s", "peak");
  out << line;
  const auto row = [&](const std::string& name, double speed, std::int64_t bytes) {
    std::snprintf(line, sizeof(line), "%-56s %10.0f %10s\n", name.c_str(), speed,
                  human_bytes(static_cast<std::uint64_t>(bytes)).c_str());
    out << line;
  };
  row("retort, " + ours.compute_type, ours.tokens_per_s,
      ours.peak_device_bytes > 0 ? ours.peak_device_bytes : ours.peak_rss_bytes);
  for (const Json& peer : peers) {
    row(peer.at("name").get<std::string>(), peer.at("tokens_per_s").get<double>(),
        peer.contains("peak_device_bytes") ? peer["peak_device_bytes"].get<std::int64_t>()
                                           : peer.at("peak_rss_bytes").get<std::int64_t>());
  }
  std::snprintf(line, sizeof(line), "\nShape %s, teacher %s. Ours is %.0f GFLOP/s, %.0f %% of the measured %.0f.\n",
                flags.options.shape.c_str(), flags.options.train.signal == "online" ? "online" : "kept on disk",
                ours.gflops, 100 * ours.share_of_peak, ours.gemm_peak_gflops);
  out << line;
  if (ours.signal_bytes_per_token > 0) {
    std::snprintf(line, sizeof(line), "The teacher's signal takes %.1f bytes a token.\n", ours.signal_bytes_per_token);
    out << line;
  }
  const train::StepPhases& phases = ours.phases;
  std::snprintf(line, sizeof(line),
                "Seconds per 1,024 tokens: teacher %.3f, forward %.3f, heads and loss %.3f, backward %.3f, optimiser "
                "%.3f\n",
                phases.teacher_s, phases.forward_s, phases.head_s, phases.backward_s, phases.optimiser_s);
  out << line;
}

Result<void> run_bench(Context& context, const Flags& flags) {
  train::forget_old_shapes();
  RETORT_ASSIGN(const train::TrainMeasurement ours, train::measure_training(flags.options, context.clock));
  Json peers = Json::array();
  if (flags.peers) {
    RETORT_ASSIGN(peers, measure_peers(context, flags, ours.peak_device_bytes > 0));
  }
  if (context.json) {
    context.emit({{"ours", to_json(ours)}, {"peers", peers}});
  } else {
    print(context.out, flags, ours, peers);
  }
  return {};
}

}  // namespace

void register_bench(VerbSetup& verb) {
  const auto flags = std::make_shared<Flags>();
  verb.app.add_option("what", flags->what, "What is measured")->check(CLI::IsMember({"train"}))->required();
  verb.app.add_flag("--peers", flags->peers, "Measure PyTorch loops and TRL as well (fetched once)");
  verb.app
      .add_option("--shape", flags->options.shape,
                  "Whose shapes: 135m (SmolLM2-135M and its cut) or 8b (Llama 3.1 8B and 3.2 1B, for a GPU)")
      ->check(CLI::IsMember({"135m", "8b"}))
      ->capture_default_str();
  verb.app.add_option("--device", flags->options.train.device, "auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  verb.app
      .add_option("--layers", flags->options.layers,
                  "Layers of the student; without it the shape's own, 10 of 30 or 16")
      ->check(CLI::Range(1, 30));
  verb.app.add_option("--steps", flags->options.steps, "Steps; the first two don't count")
      ->check(CLI::Range(3, 100000))
      ->capture_default_str();
  verb.app.add_option("--tokens-per-step", flags->options.train.tokens_per_step, "Tokens of a step")
      ->check(CLI::Range(256, 1 << 20))
      ->capture_default_str();
  verb.app.add_option("--micro-batch-tokens", flags->options.train.micro_batch_tokens, "Tokens computed at once")
      ->check(CLI::Range(256, 1 << 20))
      ->capture_default_str();
  verb.app.add_option("--signal", flags->options.train.signal, "The teacher online, or kept: sampled or top_k")
      ->check(CLI::IsMember({"online", "sampled", "top_k"}))
      ->capture_default_str();
  verb.app
      .add_option("--vocabulary", flags->options.vocabulary, "Tokens that both models know; without it the shape's own")
      ->check(CLI::Range(1024, 1 << 20));
  verb.app.add_option("--head-rows", flags->options.train.head_rows, "Rows of logits that exist at a time")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  verb.app.add_option("--compute", flags->options.train.compute, "auto, bf16 or fp32")
      ->check(CLI::IsMember({"auto", "bf16", "fp32"}))
      ->capture_default_str();
  verb.app.add_option("--lora-rank", flags->options.train.lora_rank, "Train adapters of this rank; 0: the weights")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  verb.action = [flags](Context& context) { return run_bench(context, *flags); };
}

}  // namespace retort::app
