// Ranks as threads of this program, each with its own connection over loopback. For tests.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <torch/torch.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "train/ranks.h"

namespace retort::train {

inline std::uint16_t free_port() {
  const int handle = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  RETORT_CHECK(bind(handle, reinterpret_cast<sockaddr*>(&address), size) == 0);
  RETORT_CHECK(getsockname(handle, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  close(handle);
  return ntohs(address.sin_port);
}

// Calls `work` on as many threads as there are ranks, each as one of them. libtorch's recorder of collectives is one a
// process and not made for several ranks in it (two threads insert into its map of groups), so it is switched off.
inline void together(int world, const std::function<void(std::unique_ptr<Ranks>)>& work,
                     const std::string& address = "127.0.0.1") {
  setenv("TORCH_FR_BUFFER_SIZE", "0", 1);
  const std::uint16_t port = free_port();
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(world));
  for (int rank = 0; rank < world; ++rank) {
    threads.emplace_back([=] {
      at::set_num_threads(1);
      RankPlace place;
      place.rank = rank;
      place.world = world;
      place.address = address;
      place.port = port;
      place.timeout_s = 60;
      auto ranks = join_ranks(place);
      ASSERT_TRUE(ranks) << ranks.error().message;
      work(std::move(*ranks));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace retort::train
