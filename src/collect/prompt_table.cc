// The table of prompt_table.h. An entry of each list must go with any of the others: tasks name no subject, subjects no
// task.
#include "collect/prompt_table.h"

#include <array>
#include <numeric>

#include "base/random.h"

namespace retort::collect {
namespace {

constexpr std::array<std::string_view, 24> kTasks = {
    "to have something explained that they don't understand",
    "a short answer to a question of fact",
    "to know why something happens",
    "step-by-step instructions for doing something",
    "help in deciding between two or three named possibilities",
    "a plan for the next days or weeks",
    "a mistake found and put right in something they did, which they describe or paste",
    "a text that they paste made shorter",
    "a text that they paste put into other words or another tone",
    "a letter, e-mail or notice written for them",
    "a short story, scene or poem",
    "a list of ideas",
    "a calculation with numbers that they give",
    "an estimate, with how it is reached",
    "things that they list sorted into groups, or put in order",
    "names, dates or figures taken out of a text that they paste, as a table or JSON",
    "a small program or script, in a language that they name",
    "a piece of code that they paste explained or repaired",
    "a query, formula or command for a job that they describe",
    "both sides of a dispute set out",
    "an opinion on something that they made, with what to improve",
    "questions and answers to practise with",
    "a puzzle or problem solved, with every step of the reasoning",
    "a short text translated, or a wording in another language explained"};

constexpr std::array<std::string_view, 97> kSubjects = {"arithmetic and fractions",
                                                        "geometry and measuring",
                                                        "probability and games of chance",
                                                        "statistics in a small study",
                                                        "algebra and equations",
                                                        "calculus",
                                                        "logic and sets",
                                                        "mechanics and motion",
                                                        "electricity at home",
                                                        "heat, steam and cooling",
                                                        "light, lenses and colour",
                                                        "sound and acoustics",
                                                        "stars, planets and telescopes",
                                                        "rockets and satellites",
                                                        "chemistry in the kitchen",
                                                        "acids, bases and salts",
                                                        "metals and alloys",
                                                        "plastics and recycling",
                                                        "cells and genes",
                                                        "evolution and fossils",
                                                        "birds and insects",
                                                        "fish, rivers and oceans",
                                                        "trees and forests",
                                                        "gardening and soil",
                                                        "farming and livestock",
                                                        "pets",
                                                        "the weather",
                                                        "climate and energy",
                                                        "earthquakes and volcanoes",
                                                        "maps and navigation",
                                                        "the human body",
                                                        "sleep",
                                                        "nutrition",
                                                        "sports and training",
                                                        "first aid",
                                                        "caring for a child",
                                                        "caring for an old or ill person",
                                                        "learning and memory",
                                                        "feelings and habits",
                                                        "friendship and family",
                                                        "neighbours and living together",
                                                        "weddings, funerals and other ceremonies",
                                                        "baking",
                                                        "cooking for many",
                                                        "coffee, tea and wine",
                                                        "food from another country",
                                                        "cleaning and laundry",
                                                        "repairing a bicycle",
                                                        "cars and driving",
                                                        "trains and timetables",
                                                        "travelling on little money",
                                                        "hiking and camping",
                                                        "building with wood",
                                                        "plumbing and heating",
                                                        "painting and decorating rooms",
                                                        "sewing and knitting",
                                                        "photography",
                                                        "drawing and painting",
                                                        "playing an instrument",
                                                        "songs and their history",
                                                        "cinema",
                                                        "theatre",
                                                        "novels and their characters",
                                                        "poetry and rhyme",
                                                        "myths and fairy tales",
                                                        "board games and card games",
                                                        "chess",
                                                        "video games",
                                                        "ancient history",
                                                        "the Middle Ages",
                                                        "the nineteenth century",
                                                        "the twentieth century",
                                                        "archaeology and museums",
                                                        "religions and their customs",
                                                        "ethics",
                                                        "philosophy of knowledge",
                                                        "grammar and spelling",
                                                        "the origin of words",
                                                        "learning a foreign language",
                                                        "public speaking",
                                                        "schools and teaching",
                                                        "applying for work",
                                                        "meetings and colleagues",
                                                        "running a small shop",
                                                        "bookkeeping",
                                                        "saving, loans and interest",
                                                        "taxes and official forms",
                                                        "contracts and tenancy",
                                                        "elections and parliaments",
                                                        "newspapers and sources",
                                                        "city planning and traffic",
                                                        "spreadsheets",
                                                        "web pages",
                                                        "databases",
                                                        "algorithms and data structures",
                                                        "computer networks and security",
                                                        "machine learning"};

constexpr std::array<std::string_view, 13> kWriters = {"a child of about ten",
                                                       "somebody of sixteen with homework",
                                                       "a student of the field",
                                                       "an expert who wants the details",
                                                       "somebody who has to teach it",
                                                       "a complete beginner, a little embarrassed",
                                                       "a practical person in a hurry",
                                                       "an old person who writes politely and at length",
                                                       "somebody who is annoyed because something went wrong",
                                                       "somebody who does it for a living",
                                                       "a sceptic who doubts what is commonly said",
                                                       "somebody who writes for others: a club, a firm, a class",
                                                       "somebody whose first language is another, in simple words"};

constexpr std::array<std::string_view, 11> kForms = {
    "one short question",
    "two or three plain sentences",
    "a paragraph that tells the situation first and asks at its end",
    "with two conditions that the answer must meet, such as a length, a tone or something to leave out",
    "with the exact form that the answer shall have, such as a table, a list of so many points or one word",
    "like a quick message on a phone: lower case, abbreviations, perhaps a slip of the pen",
    "as an order, without any politeness",
    "with a short text, list, table or piece of code pasted in that the answer must work on",
    "with a number, a name and a place in it that matter for the answer",
    "with something in it that is a common misunderstanding, which the writer believes",
    "as two questions, of which the second depends on the answer to the first"};

constexpr bool have_no_common_factor() {
  constexpr std::array<std::size_t, 4> kSizes = {kTasks.size(), kSubjects.size(), kWriters.size(), kForms.size()};
  for (std::size_t i = 0; i < kSizes.size(); ++i) {
    for (std::size_t j = i + 1; j < kSizes.size(); ++j) {
      if (std::gcd(kSizes[i], kSizes[j]) != 1) return false;
    }
  }
  return true;
}
static_assert(have_no_common_factor(), "else some combinations never come, and others early again");

std::vector<std::string_view> shuffled(std::span<const std::string_view> list, std::uint64_t seed,
                                       std::string_view name) {
  std::vector<std::string_view> entries(list.begin(), list.end());
  Random(derive_seed(seed, name)).shuffle(entries);
  return entries;
}

}  // namespace

std::span<const std::string_view> prompt_tasks() { return kTasks; }
std::span<const std::string_view> prompt_subjects() { return kSubjects; }
std::span<const std::string_view> prompt_writers() { return kWriters; }
std::span<const std::string_view> prompt_forms() { return kForms; }

PromptPlan::PromptPlan(std::uint64_t seed)
    : tasks_(shuffled(kTasks, seed, "tasks")),
      subjects_(shuffled(kSubjects, seed, "subjects")),
      writers_(shuffled(kWriters, seed, "writers")),
      forms_(shuffled(kForms, seed, "forms")) {}

std::int64_t PromptPlan::size() {
  return static_cast<std::int64_t>(kTasks.size() * kSubjects.size() * kWriters.size() * kForms.size());
}

PromptWish PromptPlan::at(std::int64_t number) const {
  const auto index = static_cast<std::size_t>(number);
  return {tasks_[index % tasks_.size()], subjects_[index % subjects_.size()], writers_[index % writers_.size()],
          forms_[index % forms_.size()]};
}

std::string instruction_for(const PromptWish& wish, std::int64_t most_words) {
  std::string text = "Write one message that a person sends to an AI assistant.\n\nWho writes: ";
  text.append(wish.writer).append(".\nWhat they want: ").append(wish.task).append(".\nWhat it is about: ");
  text.append(wish.subject).append(".\nHow it is written: ").append(wish.form);
  text +=
      ".\n\nWrite it as this person would, about one particular case with details of its own, and put everything "
      "into it that is needed to answer it. Where these points don't go together, keep the subject and bend the "
      "others. At most " +
      std::to_string(most_words) +
      " words. Reply with the message alone: no heading, no quotation marks around it, no remark before or after "
      "it, and no answer to it.";
  return text;
}

}  // namespace retort::collect
