// What a chat teacher is told to write a user's message about: four lists (what is wanted, the subject, who writes, how
// it is written), and the order in which their combinations are drawn.
//
// A teacher that is only asked for "a question" asks the same few again and again, at any temperature; the lists bring
// the variety, and the teacher the particulars (in the spirit of Self-Instruct, arXiv 2212.10560). The lists' lengths
// have no common factor, so that combination i, each list taken at i modulo its length, meets every combination once
// before any comes again (Chinese remainder theorem), and every prefix of the order uses the entries of each list
// equally often, give or take one. A seed shuffles each list. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort::collect {

// prompt_table.cc is the table itself. Whoever changes it changes the digest, and so which collection is gone on with.
std::span<const std::string_view> prompt_tasks();
std::span<const std::string_view> prompt_subjects();
std::span<const std::string_view> prompt_writers();
std::span<const std::string_view> prompt_forms();

struct PromptWish {
  std::string_view task;
  std::string_view subject;
  std::string_view writer;
  std::string_view form;
};

class PromptPlan {
 public:
  explicit PromptPlan(std::uint64_t seed);
  // Combination `number`, from 0; any number.
  PromptWish at(std::int64_t number) const;
  // How many combinations there are.
  static std::int64_t size();

 private:
  std::vector<std::string_view> tasks_, subjects_, writers_, forms_;
};

// What the teacher is asked: to write this message, in at most so many words.
std::string instruction_for(const PromptWish& wish, std::int64_t most_words);

}  // namespace retort::collect
