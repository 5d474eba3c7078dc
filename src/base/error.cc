#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace retort {

int exit_code(Fault fault) {
  switch (fault) {
    case Fault::kCaller: return 2;
    case Fault::kWorld: return 1;
    case Fault::kInterrupted: return 130;
  }
  return 1;
}

Failure with_context(const Error& error, std::string_view context) {
  return Failure(Error{error.fault, std::string(context) + ": " + error.message});
}

void check_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: this must hold and does not: %s. This is a defect of Retort; please report it.\n", file,
               line, expression);
  std::abort();
}

}  // namespace retort
