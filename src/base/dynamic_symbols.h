// Functions looked up by name in a library that was opened while the program runs (dlopen).
//
//   DynamicSymbols symbols(library);
//   symbols.find("cuStreamCreate", driver.create_stream);
//   if (!symbols.missing().empty()) ...
//
// The caller answers for the types. A value; the library stays the caller's.
#pragma once

#include <dlfcn.h>

#include <string>

namespace retort {

class DynamicSymbols {
 public:
  explicit DynamicSymbols(void* library) : library_(library) {}

  // Leaves null where there is no such name.
  template <class Function>
  void find(const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(dlsym(library_, name));
    if (function == nullptr) missing_ += (missing_.empty() ? "" : ", ") + std::string(name);
  }
  const std::string& missing() const { return missing_; }  // names, with commas between

 private:
  void* library_;
  std::string missing_;
};

}  // namespace retort
