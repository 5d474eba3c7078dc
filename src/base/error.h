// Errors as values.
//
// Three kinds of failure are told apart (docs/ARCHITECTURE.md, "Failures"):
//   - the caller's (bad input): a sentence that says what happened, what was expected and what to do; exit code 2;
//   - the world's (disk full, killed, unreadable): nothing that was finished is lost; exit code 1;
//   - an interruption the user asked for: the same command goes on later; exit code 130;
//   - ours (a broken invariant): RETORT_CHECK, which aborts with the expression and its place.
// The first three travel in Result<T>. No function of a library prints or exits.
//
// Thread safety: values; share them as any other value.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace retort {

enum class Fault {
  kCaller,       // bad input: say what was expected and what to do
  kWorld,        // disk, memory, process: may succeed when tried again
  kInterrupted,  // stopped on request; finished work is kept
};

struct Error {
  Fault fault = Fault::kCaller;
  std::string message;  // whole sentences, no trailing newline
};

// The exit code a program ends with after this fault: 2, 1 or 130.
int exit_code(Fault fault);

template <class T>
using Result = tl::expected<T, Error>;

using Failure = tl::unexpected<Error>;

inline Failure caller_error(std::string message) { return Failure(Error{Fault::kCaller, std::move(message)}); }
inline Failure world_error(std::string message) { return Failure(Error{Fault::kWorld, std::move(message)}); }
inline Failure interrupted(std::string message) { return Failure(Error{Fault::kInterrupted, std::move(message)}); }

// `context: message`, with the fault kept: for a layer that knows which file or stage it was about.
Failure with_context(const Error& error, std::string_view context);

[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace retort

// An invariant of ours. Never for input: bad input is a caller_error.
#define RETORT_CHECK(expression) \
  ((expression) ? static_cast<void>(0) : ::retort::check_failed(#expression, __FILE__, __LINE__))

#define RETORT_CONCAT_(a, b) a##b
#define RETORT_CONCAT(a, b) RETORT_CONCAT_(a, b)

// Returns the error of a Result<…> expression, if it has one.
#define RETORT_TRY(expression)                                                              \
  do {                                                                                      \
    auto&& retort_try_result = (expression);                                                \
    if (!retort_try_result) return ::retort::Failure(std::move(retort_try_result.error())); \
  } while (false)

// RETORT_ASSIGN(auto file, open(path)): declares or assigns the value, or returns the error.
#define RETORT_ASSIGN(target, expression) RETORT_ASSIGN_(RETORT_CONCAT(retort_assign_, __LINE__), target, expression)
#define RETORT_ASSIGN_(name, target, expression)                \
  auto name = (expression);                                     \
  if (!name) return ::retort::Failure(std::move(name.error())); \
  target = std::move(*name)
