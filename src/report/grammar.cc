#include "report/grammar.h"

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/text.h"

namespace retort::report {

namespace {

enum class Kind : std::uint8_t {
  kString,
  kNumber,
  kNumberOrNull,
  kBool,
  kList,
  kPoint,  // [x, y] or [x, null]
  kCell,   // string, number, null, or {text, note, tone}
  kScale,  // "linear" or "log"
  kTone,   // "good", "neutral", "bad"
};

struct Member {
  std::string_view path;  // "bars[].value"
  Kind kind;
  bool required;
};

constexpr std::array kText = {Member{"text", Kind::kString, true}, Member{"style", Kind::kString, false}};
constexpr std::array kVerdict = {Member{"lines", Kind::kList, true}, Member{"lines[].figure", Kind::kString, true},
                                 Member{"lines[].headline", Kind::kString, true},
                                 Member{"lines[].detail", Kind::kString, false},
                                 Member{"lines[].tone", Kind::kTone, false}};
constexpr std::array kKeyValues = {Member{"items", Kind::kList, true}, Member{"items[].key", Kind::kString, true},
                                   Member{"items[].value", Kind::kString, true},
                                   Member{"items[].note", Kind::kString, false}};
constexpr std::array kTable = {
    Member{"caption", Kind::kString, false},         Member{"columns", Kind::kList, true},
    Member{"columns[].title", Kind::kString, true},  Member{"columns[].note", Kind::kString, false},
    Member{"columns[].numeric", Kind::kBool, false}, Member{"rows", Kind::kList, true},
    Member{"rows[].cells", Kind::kList, true},       Member{"rows[].cells[]", Kind::kCell, true},
    Member{"rows[].emphasis", Kind::kBool, false}};
constexpr std::array kLineChart = {Member{"title", Kind::kString, true},
                                   Member{"description", Kind::kString, false},
                                   Member{"x_label", Kind::kString, true},
                                   Member{"y_label", Kind::kString, true},
                                   Member{"x_scale", Kind::kScale, false},
                                   Member{"y_scale", Kind::kScale, false},
                                   Member{"y_from_zero", Kind::kBool, false},
                                   Member{"series", Kind::kList, true},
                                   Member{"series[].name", Kind::kString, true},
                                   Member{"series[].role", Kind::kString, false},
                                   Member{"series[].points", Kind::kList, true},
                                   Member{"series[].points[]", Kind::kPoint, true},
                                   Member{"series[].dashed", Kind::kBool, false},
                                   Member{"series[].faint", Kind::kBool, false},
                                   Member{"series[].dots", Kind::kBool, false},
                                   Member{"levels", Kind::kList, false},
                                   Member{"levels[].value", Kind::kNumber, true},
                                   Member{"levels[].label", Kind::kString, true},
                                   Member{"small", Kind::kBool, false}};
constexpr std::array kBarChart = {
    Member{"title", Kind::kString, true},         Member{"description", Kind::kString, false},
    Member{"axis_label", Kind::kString, false},   Member{"bars", Kind::kList, true},
    Member{"bars[].label", Kind::kString, true},  Member{"bars[].value", Kind::kNumber, true},
    Member{"bars[].low", Kind::kNumber, false},   Member{"bars[].high", Kind::kNumber, false},
    Member{"bars[].text", Kind::kString, false},  Member{"bars[].role", Kind::kString, false},
    Member{"bars[].group", Kind::kString, false}, Member{"bars[].hollow", Kind::kBool, false}};
constexpr std::array kFunnel = {
    Member{"title", Kind::kString, false},        Member{"steps", Kind::kList, true},
    Member{"steps[].label", Kind::kString, true}, Member{"steps[].count", Kind::kNumber, true},
    Member{"steps[].note", Kind::kString, false}, Member{"steps[].dropped", Kind::kBool, false}};
constexpr std::array kTokenDiff = {Member{"title", Kind::kString, false},
                                   Member{"prompt", Kind::kString, false},
                                   Member{"summary", Kind::kString, false},
                                   Member{"teacher", Kind::kString, true},
                                   Member{"student", Kind::kString, true},
                                   Member{"tokens", Kind::kList, true},
                                   Member{"tokens[].text", Kind::kString, true},
                                   Member{"tokens[].kl", Kind::kNumber, true},
                                   Member{"tokens[].teacher_top", Kind::kString, true},
                                   Member{"tokens[].teacher_top_probability", Kind::kNumber, true},
                                   Member{"tokens[].student_top", Kind::kString, true},
                                   Member{"tokens[].student_top_probability", Kind::kNumber, true},
                                   Member{"tokens[].agree", Kind::kBool, true}};
constexpr std::array kSideBySide = {Member{"columns", Kind::kList, true},
                                    Member{"columns[].name", Kind::kString, true},
                                    Member{"columns[].role", Kind::kString, false},
                                    Member{"rows", Kind::kList, true},
                                    Member{"rows[].prompt", Kind::kString, true},
                                    Member{"rows[].answers", Kind::kList, true},
                                    Member{"rows[].answers[].text", Kind::kString, true},
                                    Member{"rows[].answers[].note", Kind::kString, false}};
constexpr std::array kCode = {Member{"text", Kind::kString, true}, Member{"caption", Kind::kString, false}};
constexpr std::array kTimeline = {Member{"stages", Kind::kList, true}, Member{"stages[].name", Kind::kString, true},
                                  Member{"stages[].seconds", Kind::kNumber, true},
                                  Member{"stages[].detail", Kind::kString, false}};
constexpr std::array kProvenance = {Member{"items", Kind::kList, true}, Member{"items[].label", Kind::kString, true},
                                    Member{"items[].value", Kind::kString, true},
                                    Member{"items[].digest", Kind::kString, false},
                                    Member{"items[].note", Kind::kString, false}};

struct Block {
  std::string_view name;
  std::span<const Member> members;
};

const std::array<Block, 12>& blocks() {
  static const std::array<Block, 12> all = {{{"text", kText},
                                             {"verdict", kVerdict},
                                             {"key_values", kKeyValues},
                                             {"table", kTable},
                                             {"line_chart", kLineChart},
                                             {"bar_chart", kBarChart},
                                             {"funnel", kFunnel},
                                             {"token_diff", kTokenDiff},
                                             {"side_by_side", kSideBySide},
                                             {"code", kCode},
                                             {"timeline", kTimeline},
                                             {"provenance", kProvenance}}};
  return all;
}

std::string_view expected(Kind kind) {
  switch (kind) {
    case Kind::kString: return "a string";
    case Kind::kNumber: return "a number";
    case Kind::kNumberOrNull: return "a number or null";
    case Kind::kBool: return "true or false";
    case Kind::kList: return "a list";
    case Kind::kPoint: return "[x, y] with a number or null for y";
    case Kind::kCell: return "a string, a number, null or {text, note, tone}";
    case Kind::kScale: return "\"linear\" or \"log\"";
    case Kind::kTone: return "\"good\", \"neutral\" or \"bad\"";
  }
  return "";
}

bool is_tone(const Json& json) { return json == "good" || json == "neutral" || json == "bad"; }

bool optional_string(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() || found->is_string();
}

bool fits(const Json& json, Kind kind) {
  switch (kind) {
    case Kind::kString: return json.is_string();
    case Kind::kNumber: return json.is_number();
    case Kind::kNumberOrNull: return json.is_number() || json.is_null();
    case Kind::kBool: return json.is_boolean();
    case Kind::kList: return json.is_array();
    case Kind::kPoint:
      return json.is_array() && json.size() == 2 && json[0].is_number() && fits(json[1], Kind::kNumberOrNull);
    case Kind::kCell:
      if (json.is_string() || json.is_number() || json.is_null()) return true;
      return json.is_object() && json.contains("text") && json["text"].is_string() && optional_string(json, "note") &&
             (!json.contains("tone") || is_tone(json["tone"]));
    case Kind::kScale: return json == "linear" || json == "log";
    case Kind::kTone: return is_tone(json);
  }
  return false;
}

Failure mismatch(const std::string& place, std::string_view path, std::string_view wanted, std::string_view found) {
  return caller_error("The report's document, " + place + ": '" + std::string(path) + "' is " + std::string(found) +
                      ", expected " + std::string(wanted) + " (docs/formats/report.md).");
}

// Checks what `rest` of the member's path leads to from `json`. Lists on the way have been checked before: the tables
// name a list before its entries.
Result<void> check_path(const Json& json, std::string_view rest, const Member& wanted, const std::string& place) {
  if (rest.empty()) {
    if (!fits(json, wanted.kind)) return mismatch(place, wanted.path, expected(wanted.kind), json.type_name());
    return {};
  }
  if (rest.substr(0, 2) == "[]") {
    std::string_view after = rest.substr(2);
    if (!after.empty() && after.front() == '.') after.remove_prefix(1);
    for (const Json& entry : json) RETORT_TRY(check_path(entry, after, wanted, place));
    return {};
  }
  const std::size_t end = rest.find_first_of(".[");
  const std::string_view key = rest.substr(0, end);
  std::string_view after = end == std::string_view::npos ? std::string_view{} : rest.substr(end);
  if (!after.empty() && after.front() == '.') after.remove_prefix(1);
  if (!json.is_object()) return mismatch(place, wanted.path, "a member of an object", json.type_name());
  const auto found = json.find(std::string(key));
  // Only the last name of a path is this member's own: those before have lines of their own.
  if (found == json.end() || (!wanted.required && found->is_null())) {
    if (wanted.required && after.empty()) return mismatch(place, wanted.path, expected(wanted.kind), "missing");
    return {};
  }
  return check_path(*found, after, wanted, place);
}

Result<void> check_block(const Json& block, const std::string& place) {
  if (!block.is_object() || !block.contains("type") || !block["type"].is_string()) {
    return mismatch(place, "type", "the name of a block", block.is_object() ? "missing" : block.type_name());
  }
  const auto type = block["type"].get<std::string>();
  for (const Block& known : blocks()) {
    if (known.name != type) continue;
    for (const Member& wanted : known.members) {
      RETORT_TRY(check_path(block, wanted.path, wanted, place + " (" + type + ")"));
    }
    return {};
  }
  std::vector<std::string> names;
  for (const Block& known : blocks()) names.emplace_back(known.name);
  const std::string near = nearest(type, names);
  return caller_error("The report's document, " + place + ": there is no block '" + type + "'" +
                      (near.empty() ? "" : "; did you mean '" + near + "'?") + " See docs/formats/report.md.");
}

}  // namespace

Result<void> check_document(const Json& document) {
  static constexpr std::array kDocument = {
      Member{"version", Kind::kNumber, true},           Member{"title", Kind::kString, true},
      Member{"subtitle", Kind::kString, false},         Member{"facts", Kind::kList, false},
      Member{"facts[]", Kind::kString, true},           Member{"sections", Kind::kList, true},
      Member{"sections[].title", Kind::kString, false}, Member{"sections[].lead", Kind::kString, false},
      Member{"sections[].blocks", Kind::kList, true},   Member{"footer", Kind::kString, false}};
  if (!document.is_object()) return caller_error("The report's document is not a JSON object.");
  for (const Member& wanted : kDocument) RETORT_TRY(check_path(document, wanted.path, wanted, "top level"));
  if (document["version"] != kDocumentVersion) {
    return caller_error("The report's document has version " + document["version"].dump() +
                        "; this program reads version " + std::to_string(kDocumentVersion) +
                        ". Render it with a newer program.");
  }
  std::size_t section_number = 0;
  for (const Json& section : document["sections"]) {
    ++section_number;
    std::size_t block_number = 0;
    for (const Json& block : section["blocks"]) {
      ++block_number;
      RETORT_TRY(
          check_block(block, "section " + std::to_string(section_number) + ", block " + std::to_string(block_number)));
    }
  }
  return {};
}

}  // namespace retort::report
