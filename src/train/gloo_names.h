// The few names of Gloo that libtorch's ProcessGroupGloo.hpp mentions.
//
// libtorch has Gloo inside and exports its process group, but ships none of Gloo's headers. Nothing of Gloo is called
// or laid out here: its objects are held by pointers that libtorch makes. CMake puts forwarding headers of Gloo's names
// in front of this one, where libtorch doesn't bring them.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

namespace transport {
class Device;
class UnboundBuffer;
}  // namespace transport

namespace rendezvous {
class Store {
 public:
  virtual ~Store() = default;
  virtual void set(const std::string& key, const std::vector<char>& value) = 0;
  virtual std::vector<char> get(const std::string& key) = 0;
  virtual void wait(const std::vector<std::string>& keys) = 0;
  virtual void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) = 0;
};
}  // namespace rendezvous

}  // namespace gloo
