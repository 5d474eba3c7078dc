#include "pipeline/machine_memory.h"

#include <unistd.h>

#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/digest.h"
#include "base/files.h"

namespace retort::pipeline {
namespace {

// The first processor's model and features, as the kernel tells them; empty where it doesn't.
Json processor() {
  std::ifstream file("/proc/cpuinfo");
  std::string text;
  for (std::string line; std::getline(file, line) && !line.empty();) {
    for (const char* name : {"model name", "cpu family", "model", "stepping", "flags", "Features", "CPU part"}) {
      if (line.starts_with(std::string(name) + "\t") || line.starts_with(std::string(name) + " \t"))
        text += line + "\n";
    }
  }
  return {{"processor", sha256(text).hex()}, {"cores", std::thread::hardware_concurrency()}};
}

}  // namespace

MachineMemory::MachineMemory(const std::filesystem::path& cache_folder, Json question)
    : question_(std::move(question)) {
  question_["machine"] = processor();
  path_ = cache_folder / "measured" / (sha256(canonical_json(question_)).hex().substr(0, 32) + ".json");
}

std::optional<Json> MachineMemory::recall() const {
  if (!is_there(path_)) return std::nullopt;
  const Result<std::string> text = read_file(path_);
  if (!text) return std::nullopt;
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object() || !json.contains("answer") || json.value("question", Json()) != question_) return std::nullopt;
  return json.at("answer");
}

Json MachineMemory::keep(const Json& answer) const {
  std::error_code error;
  // Whatever is there and can't be read would be in the way for ever.
  if (!recall()) std::filesystem::remove(path_, error);
  if (!make_folder(path_.parent_path())) return answer;
  const std::filesystem::path own = path_.string() + "." + std::to_string(getpid());
  if (!write_file(own, Json{{"question", question_}, {"answer", answer}}.dump(2) + "\n")) return answer;
  std::filesystem::create_hard_link(own, path_, error);  // fails where another process was first
  std::error_code ignored;
  std::filesystem::remove(own, ignored);
  return recall().value_or(answer);
}

}  // namespace retort::pipeline
