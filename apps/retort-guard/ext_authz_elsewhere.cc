#include <unistd.h>

#include <filesystem>
#include <vector>

#include "base/files.h"
#include "ext_authz_plane.h"
#include "guard/rules.h"

namespace retort::app {
namespace {

constexpr const char* kCompanion = "retort-guard-grpc";

// The arguments that this program was started with.
Result<std::vector<std::string>> own_arguments() {
  RETORT_ASSIGN(const std::string line, read_file("/proc/self/cmdline"));
  std::vector<std::string> arguments;
  for (std::size_t begin = 0; begin < line.size();) {
    const std::size_t end = std::min(line.find('\0', begin), line.size());
    arguments.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  return arguments;
}

}  // namespace

Result<void> be_the_right_program(const std::string& configuration, const Context& context) {
  RETORT_ASSIGN(const auto rules, guard::load_rules(configuration, context.environment));
  if (rules->options.authz.ext_authz.empty()) return {};
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string companion = (self.parent_path() / kCompanion).string();
  RETORT_ASSIGN(std::vector<std::string> arguments, own_arguments());
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  execv(companion.c_str(), pointers.data());
  return caller_error("guard.yaml has authz.ext_authz, which needs " + companion +
                      "; build it where libgrpc++-dev, libprotobuf-dev, protobuf-compiler and protobuf-compiler-grpc "
                      "are installed, or leave authz.ext_authz out.");
}

Result<std::unique_ptr<ExtAuthzPlane>> start_ext_authz(guard::GuardState& state) {
  // A reload can't bring it in (GuardState::reload), and without one it was asked for before the start.
  static_cast<void>(state);
  return std::unique_ptr<ExtAuthzPlane>();
}

}  // namespace retort::app
