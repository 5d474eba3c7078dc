// `retort doctor`: what was found on this machine, what was chosen and why, and what to do about what is missing.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "base/digest.h"
#include "base/files.h"
#include "base/text.h"
#include "base/version.h"
#include "catalogue/catalogue.h"
#include "model/backend.h"
#include "model/compute_probe.h"
#include "retort/machine.h"
#include "retort/verb.h"

namespace retort::app {
namespace {

namespace fs = std::filesystem;

// What a run of the quickstart's size wants (docs/HACKING.md, "Machines").
constexpr std::uint64_t kWantedMemoryBytes = 4'000'000'000;
constexpr std::uint64_t kWantedDiskBytes = 2'000'000'000;

struct DoctorFlags {
  bool quick = false;
};

struct Part {
  std::string name;
  std::string version;
  fs::path path;
  bool present = false;
};

struct ModelState {
  catalogue::Model model;
  fs::path path;
  std::string state;  // "ok", "present" (digest not checked), "missing", "damaged"
};

struct Advice {
  std::string found;
  std::string to_do;
  bool needed;  // without it a run fails
};

struct Findings {
  Machine machine;
  std::string gpu_missing;  // why the machine's GPU can't be used; empty: it can, or there is none
  std::vector<Part> parts;
  std::vector<ModelState> models;
  std::uint64_t cache_free_bytes = 0;
  std::uint64_t here_free_bytes = 0;
  bool probed = false;
  model::ComputeProbe probe;
  std::vector<Advice> advice;
};

std::string fixed(double value) {
  std::string text(32, '\0');
  text.resize(static_cast<std::size_t>(std::snprintf(text.data(), text.size(), "%.0f", value)));
  return text;
}

ModelState state_of(const catalogue::Model& model, const Context& context, bool quick) {
  ModelState state{model, context.cache_folder / "models" / model.file_name, "missing"};
  if (!is_there(state.path)) return state;
  state.state = "present";
  if (quick) return state;
  const Result<Digest> digest = sha256_file(state.path);
  state.state = digest && digest->hex() == model.sha256 ? "ok" : "damaged";
  return state;
}

void advise(Findings& findings, const Context& context) {
  auto& advice = findings.advice;
  for (const Part& part : findings.parts) {
    if (!part.present) {
      advice.push_back({part.name + " is not where this program was built with it (" + part.path.string() + ").",
                        "Run `make setup build`.", true});
    }
  }
  for (const ModelState& model : findings.models) {
    if (model.state == "missing") {
      advice.push_back({"The model " + std::string(model.model.name) + " is not in the cache.",
                        "Run `make setup`, which fetches it, or name a GGUF file of your own as the teacher.", false});
    } else if (model.state == "damaged") {
      advice.push_back({model.path.string() + " is not the file it should be: its digest is another.",
                        "Remove it and run `make setup`.", true});
    }
  }
  if (!findings.gpu_missing.empty()) {
    advice.push_back({"There is a GPU that training can't use. " + findings.gpu_missing,
                      "Nothing, if the processor is enough; else docs/HACKING.md says how to build with CUDA.", false});
  }
  if (findings.machine.memory_bytes != 0 && findings.machine.memory_bytes < kWantedMemoryBytes) {
    advice.push_back({"This machine has " + human_bytes(findings.machine.memory_bytes) +
                          " of memory; the quickstart wants " + human_bytes(kWantedMemoryBytes) + ".",
                      "Use a machine with more memory, or a smaller train.tokens_per_step.", false});
  }
  if (findings.here_free_bytes < kWantedDiskBytes) {
    advice.push_back({"Only " + human_bytes(findings.here_free_bytes) + " are free here, where runs are written.",
                      "Make room: the quickstart's run takes up to " + human_bytes(kWantedDiskBytes) + ".", false});
  }
  if (!is_there(context.cache_folder)) {
    advice.push_back(
        {"The cache folder " + context.cache_folder.string() + " does not exist.", "Run `make setup`.", false});
  } else if (access(context.cache_folder.c_str(), W_OK) != 0) {
    advice.push_back({"The cache folder " + context.cache_folder.string() + " cannot be written by this user.",
                      "Name another one in the environment variable RETORT_CACHE.", true});
  }
#ifndef NDEBUG
  advice.push_back(
      {"This is a build for debugging; its speeds are not those of a release.", "Run `make build`.", false});
#endif
}

Findings examine(const Context& context, const DoctorFlags& flags) {
  Findings findings;
  findings.machine = look_at_machine("/");
  const fs::path torch = RETORT_TORCH_PATH;
  findings.parts.push_back({"libtorch", RETORT_TORCH_VERSION, torch, is_there(torch / "lib/libtorch_cpu.so")});
  // Linked in whole: its folder is named to say which build it is, and isn't needed to run.
  findings.parts.push_back({"llama.cpp", RETORT_LLAMA_VERSION, RETORT_LLAMA_PATH, true});
  for (const catalogue::Model& model : catalogue::models()) {
    findings.models.push_back(state_of(model, context, flags.quick));
  }
  findings.cache_free_bytes = free_bytes(context.cache_folder).value_or(0);
  findings.here_free_bytes = free_bytes(fs::path(".")).value_or(0);
  if (!findings.machine.gpus.empty()) {
    if (const auto opened = model::open_cuda(); !opened) findings.gpu_missing = opened.error().message;
  }
  if (!flags.quick) {
    findings.probe = model::probe_compute(model::ProbeShape{}, context.clock);
    findings.probed = true;
  }
  advise(findings, context);
  return findings;
}

std::string gpu_text(const Findings& findings) {
  const Machine& machine = findings.machine;
  if (machine.gpus.empty()) return "none";
  const Gpu& first = machine.gpus.front();
  std::string text = first.name.empty() ? first.vendor : first.name;
  if (machine.gpus.size() > 1) text += " and " + std::to_string(machine.gpus.size() - 1) + " more";
  return text + (findings.gpu_missing.empty() ? ": training uses it" : ": not used");
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

Json to_json(const Findings& findings, const Context& context) {
  const Machine& machine = findings.machine;
  Json gpus = Json::array();
  for (const Gpu& gpu : machine.gpus) {
    // The first that CUDA names.
    gpus.push_back(
        {{"vendor", gpu.vendor}, {"name", gpu.name}, {"used", gpus.empty() && findings.gpu_missing.empty()}});
  }
  Json parts = Json::array();
  for (const Part& part : findings.parts) {
    parts.push_back(
        {{"name", part.name}, {"version", part.version}, {"path", part.path.string()}, {"present", part.present}});
  }
  Json models = Json::array();
  for (const ModelState& model : findings.models) {
    models.push_back({{"name", model.model.name}, {"path", model.path.string()}, {"state", model.state}});
  }
  Json compute = nullptr;
  if (findings.probed) {
    Json speeds = Json::array();
    for (const model::GemmSpeed& speed : findings.probe.speeds) speeds.push_back(to_json(speed));
    compute = {{"chosen", model::name_of(findings.probe.chosen)},
               {"reason", findings.probe.reason},
               {"threads", findings.probe.threads},
               {"speeds", speeds}};
  }
  Json advice = Json::array();
  for (const Advice& item : findings.advice) {
    advice.push_back({{"found", item.found}, {"to_do", item.to_do}, {"needed", item.needed}});
  }
  return {{"version", kVersion},
          {"machine",
           {{"processor", machine.processor},
            {"instruction_sets", machine.instruction_sets},
            {"cores", machine.cores},
            {"cores_of_machine", machine.cores_of_machine},
            {"memory_bytes", machine.memory_bytes},
            {"memory_available_bytes", machine.memory_available_bytes},
            {"gpus", gpus}}},
          {"disk",
           {{"cache", context.cache_folder.string()},
            {"cache_free_bytes", findings.cache_free_bytes},
            {"here_free_bytes", findings.here_free_bytes}}},
          {"parts", parts},
          {"models", models},
          {"compute", compute},
          {"advice", advice}};
}

void print(const Findings& findings, const Context& context) {
  std::ostream& out = context.out;
  const auto line = [&](std::string name, const std::string& text) {
    name.resize(std::max<std::size_t>(name.size() + 2, 13), ' ');
    out << "  " << name << text << '\n';
  };
  const Machine& machine = findings.machine;
  out << "retort " << kVersion << " (" << RETORT_BUILD_TEXT << ")\n\nMachine\n";
  line("processor", machine.processor.empty() ? "unknown" : machine.processor);
  line("cores", std::to_string(machine.cores) + " usable of " + std::to_string(machine.cores_of_machine) + "; " +
                    joined(machine.instruction_sets));
  line("memory", human_bytes(machine.memory_bytes) + ", " + human_bytes(machine.memory_available_bytes) + " available");
  line("disk", human_bytes(findings.here_free_bytes) + " free here, " + human_bytes(findings.cache_free_bytes) +
                   " for the cache " + context.cache_folder.string());
  line("GPU", gpu_text(findings));
  out << "\nParts\n";
  for (const Part& part : findings.parts) {
    line(part.name, part.version + (part.present ? "  " : "  MISSING ") + part.path.string());
  }
  out << "\nModels\n";
  for (const ModelState& model : findings.models) {
    const std::string what = model.state == "ok" ? "ok, its digest is right" : model.state;
    line(std::string(model.model.name), what + "  " + model.path.string());
  }
  if (findings.probed) {
    out << "\nCompute type\n";
    line("chosen", std::string(model::name_of(findings.probe.chosen)) + ", " + std::to_string(findings.probe.threads) +
                       " threads");
    line("why", findings.probe.reason);
    for (const model::GemmSpeed& speed : findings.probe.speeds) {
      line("", speed.name + ": " + fixed(speed.block_gflops) + " GFLOP/s in a block, " + fixed(speed.head_gflops) +
                   " at the head");
    }
  }
  out << "\nWhat to do\n";
  if (findings.advice.empty()) out << "  Nothing: everything is in place. Next: make quickstart\n";
  for (const Advice& item : findings.advice) out << "  - " << item.found << "\n    " << item.to_do << '\n';
  out << std::flush;
}

}  // namespace

void register_doctor(VerbSetup& verb) {
  const auto flags = std::make_shared<DoctorFlags>();
  verb.app.add_flag("--quick", flags->quick, "Skip the speed probe and the check of model files' digests");
  verb.action = [flags](Context& context) -> Result<void> {
    const Findings findings = examine(context, *flags);
    if (context.json) {
      context.emit(to_json(findings, context));
    } else {
      print(findings, context);
    }
    for (const Advice& item : findings.advice) {
      if (item.needed) return world_error(item.found + " " + item.to_do);
    }
    return {};
  };
}

}  // namespace retort::app
