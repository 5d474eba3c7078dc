// Which of several processes this one is, and where they meet. A plain value; any thread.
#pragma once

#include <cstdint>
#include <string>

namespace retort::train {

struct RankPlace {
  int rank = 0;
  int world = 1;
  int local_rank = 0;   // among those on this machine: which GPU is its own
  int local_world = 1;  // ranks on this machine, which share its cores
  std::string address;  // of the machine rank 0 runs on
  std::uint16_t port = 0;
  bool meeting_is_hosted = false;  // somebody else (torchrun's agent) listens there, not rank 0
  int timeout_s = 300;             // for the others to come, and for each piece of work done together
};

}  // namespace retort::train
