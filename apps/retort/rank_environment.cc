#include "retort/rank_environment.h"

#include <algorithm>
#include <charconv>

namespace retort::app {
namespace {

constexpr int kDefaultPort = 29500;  // torchrun's

Result<std::optional<int>> number(const Environment& environment, const std::string& name) {
  const std::optional<std::string> text = environment(name);
  if (!text || text->empty()) return std::optional<int>();
  int value = 0;
  // "4(x2)" is Slurm's way to say 4 on each of 2 machines.
  const char* const end = text->data() + std::min(text->find('('), text->size());
  const auto [rest, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || rest != end || value < 0) {
    return caller_error("The environment variable " + name + " is '" + *text +
                        "'; expected a whole number. It says which of the processes that train together this one is: "
                        "unset it to train alone.");
  }
  return std::optional<int>(value);
}

// "gpu[03-07,12],cpu1" -> "gpu03".
std::string first_host(const std::string& list) {
  const std::size_t end = list.find(',');
  const std::size_t bracket = list.find('[');
  if (bracket == std::string::npos || end < bracket) return list.substr(0, end);
  const std::size_t number_end = list.find_first_of("-,]", bracket);
  const std::size_t close = list.find(']', bracket);
  if (number_end == std::string::npos || close == std::string::npos) return {};
  const std::size_t suffix_end = list.find(',', close);
  return list.substr(0, bracket) + list.substr(bracket + 1, number_end - bracket - 1) +
         list.substr(close + 1, suffix_end == std::string::npos ? suffix_end : suffix_end - close - 1);
}

struct Starter {
  const char* rank;
  const char* world;
  const char* local_rank;
  const char* local_world;
};

constexpr Starter kStarters[] = {
    {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
    {"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
};

std::string slurm_host(const Environment& environment) {
  for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"}) {
    if (const auto list = environment(name)) return first_host(*list);
  }
  return environment("SLURM_LAUNCH_NODE_IPADDR").value_or("");
}

}  // namespace

Result<train::RankPlace> rank_place(const Environment& environment) {
  train::RankPlace place;
  for (const Starter& starter : kStarters) {
    RETORT_ASSIGN(const std::optional<int> rank, number(environment, starter.rank));
    RETORT_ASSIGN(const std::optional<int> world, number(environment, starter.world));
    if (!rank && !world) continue;
    const bool slurm = std::string(starter.rank).starts_with("SLURM");
    if (slurm && !rank) continue;  // within a batch script, but not started by srun
    if (!rank || !world) {
      return caller_error("Of the environment variables " + std::string(starter.rank) + " and " + starter.world +
                          " only one is set. Set both, or unset both to train alone.");
    }
    place.rank = *rank;
    place.world = *world;
    if (place.world <= 1) return train::RankPlace();
    RETORT_ASSIGN(const std::optional<int> local, number(environment, starter.local_world));
    place.address = environment("MASTER_ADDR").value_or("");
    const bool here = local && *local == place.world;
    place.local_world = std::max(1, local.value_or(1));
    RETORT_ASSIGN(const std::optional<int> local_rank, number(environment, starter.local_rank));
    // Who starts as many on every machine counts on from one machine to the next.
    place.local_rank = local_rank.value_or(place.rank % place.local_world);
    if (place.address.empty() && slurm) place.address = slurm_host(environment);
    if (place.address.empty() && here) place.address = "127.0.0.1";
    if (place.address.empty()) {
      return caller_error("This is rank " + std::to_string(place.rank) + " of " + std::to_string(place.world) +
                          ", but nothing says where rank 0 is. Set MASTER_ADDR to its machine's name or address.");
    }
    RETORT_ASSIGN(std::optional<int> port, number(environment, "MASTER_PORT"));
    if (!port && slurm) {
      // The same on all ranks, and another one for another job on the same machine.
      RETORT_ASSIGN(const std::optional<int> job, number(environment, "SLURM_JOB_ID"));
      port = 20000 + job.value_or(0) % 20000;
    }
    if (port.value_or(kDefaultPort) < 1 || port.value_or(kDefaultPort) > 65535) {
      return caller_error("MASTER_PORT is " + std::to_string(*port) + "; expected 1 to 65535.");
    }
    place.port = static_cast<std::uint16_t>(port.value_or(kDefaultPort));
    place.meeting_is_hosted = environment("TORCHELASTIC_USE_AGENT_STORE").value_or("") == "True";
    return place;
  }
  return place;
}

}  // namespace retort::app
