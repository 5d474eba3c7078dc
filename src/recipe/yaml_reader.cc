#include "recipe/yaml_reader.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <limits>
#include <sstream>

namespace retort::recipe {

namespace {

constexpr std::size_t kMaxBytes = 1'000'000;
constexpr int kMaxNodes = 20'000;
constexpr int kMaxDepth = 32;

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// [-+]? ( \.[0-9]+ | [0-9]+ (\.[0-9]*)? ) ([eE][-+]?[0-9]+)?   (YAML 1.2.2, section 10.3.2)
bool is_float(std::string_view text) {
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  const std::size_t e = text.find_first_of("eE");
  if (e != std::string_view::npos) {
    std::string_view exponent = text.substr(e + 1);
    if (!exponent.empty() && (exponent.front() == '-' || exponent.front() == '+')) exponent.remove_prefix(1);
    if (!all_digits(exponent)) return false;
    text = text.substr(0, e);
  }
  const std::size_t dot = text.find('.');
  if (dot == std::string_view::npos) return all_digits(text);
  const std::string_view before = text.substr(0, dot);
  const std::string_view after = text.substr(dot + 1);
  if (before.empty()) return all_digits(after);
  return all_digits(before) && (after.empty() || all_digits(after));
}

Node number_as_written(Node node, const std::string& text) {
  node.text = text;
  return node;
}

// A plain scalar by the core schema. Whole numbers beyond 64 bits become numbers, which no whole-number option takes.
Node plain_scalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return Node::null();
  if (text == "true" || text == "True" || text == "TRUE") return Node::of(true);
  if (text == "false" || text == "False" || text == "FALSE") return Node::of(false);
  std::string_view digits = text;
  if (digits.front() == '-' || digits.front() == '+') digits.remove_prefix(1);
  if (all_digits(digits)) {
    const char* begin = text.data() + (text.front() == '+' ? 1 : 0);
    std::int64_t value = 0;
    const auto [end, code] = std::from_chars(begin, text.data() + text.size(), value);
    if (code == std::errc() && end == text.data() + text.size()) return number_as_written(Node::of(value), text);
  }
  if (is_float(text)) {
    const char* begin = text.data() + (text.front() == '+' ? 1 : 0);
    double value = 0;
    const auto [end, code] = std::from_chars(begin, text.data() + text.size(), value);
    if (code == std::errc::result_out_of_range) value = std::numeric_limits<double>::infinity();
    return number_as_written(Node::of(value), text);
  }
  if (digits == ".inf" || digits == ".Inf" || digits == ".INF") {
    return Node::of(text.front() == '-' ? -std::numeric_limits<double>::infinity()
                                        : std::numeric_limits<double>::infinity());
  }
  if (text == ".nan" || text == ".NaN" || text == ".NAN") return Node::of(std::numeric_limits<double>::quiet_NaN());
  return Node::of(text);
}

class Converter {
 public:
  explicit Converter(std::vector<YamlFault>& faults) : faults_(faults) {}

  Result<Node> convert(const YAML::Node& yaml, const std::string& path, int depth) {
    if (++nodes_ > kMaxNodes) {
      return caller_error("holds more than " + std::to_string(kMaxNodes) + " values; a recipe needs far fewer.");
    }
    if (depth > kMaxDepth) {
      return caller_error("is nested deeper than " + std::to_string(kMaxDepth) + " levels; a recipe needs two.");
    }
    Node node;
    switch (yaml.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null: break;
      case YAML::NodeType::Scalar:
        // "?" marks a plain scalar; quoted and block scalars have "!", and are texts whatever they look like.
        node = yaml.Tag() == "?" ? plain_scalar(yaml.Scalar()) : Node::of(yaml.Scalar());
        break;
      case YAML::NodeType::Sequence:
        node.kind = Node::Kind::kList;
        for (const auto& item : yaml) {
          RETORT_ASSIGN(Node value, convert(item, path, depth + 1));
          node.items.push_back(std::move(value));
        }
        break;
      case YAML::NodeType::Map: RETORT_TRY(convert_map(yaml, path, depth, node)); break;
    }
    node.line = yaml.Mark().line + 1;
    return node;
  }

 private:
  Result<void> convert_map(const YAML::Node& yaml, const std::string& path, int depth, Node& node) {
    node.kind = Node::Kind::kMap;
    for (const auto& entry : yaml) {
      const int line = entry.first.Mark().line + 1;
      if (!entry.first.IsScalar()) {
        faults_.push_back({line, path, "has a key that is not a single word; expected `key: value`"});
        continue;
      }
      const std::string& key = entry.first.Scalar();
      const std::string full = path.empty() ? key : path + "." + key;
      RETORT_ASSIGN(Node value, convert(entry.second, full, depth + 1));
      if (node.find(key) != nullptr) {
        faults_.push_back({line, full, "is written a second time; keep one"});
        continue;
      }
      node.members.push_back({key, std::move(value), line});
    }
    return {};
  }

  std::vector<YamlFault>& faults_;
  int nodes_ = 0;
};

// For counting documents.
class Ignore final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

}  // namespace

Result<Node> read_yaml(std::string_view text, std::vector<YamlFault>& faults) {
  if (text.size() > kMaxBytes) return caller_error("is larger than 1 MB; expected a recipe of a few hundred bytes.");
  if (text.find('\0') != std::string_view::npos) return caller_error("holds a zero byte; expected YAML text.");
  try {
    // Documents are asked for one by one: YAML::LoadAll never ends on a text that begins with a comma.
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    Ignore ignore;
    const bool has_one = parser.HandleNextDocument(ignore);
    if (!has_one) return Node::null();
    if (parser.HandleNextDocument(ignore)) {
      return caller_error(
          "holds more than one YAML document (`---` parts them), or something behind its end; expected "
          "one map of keys and values.");
    }
    return Converter(faults).convert(YAML::Load(std::string(text)), "", 0);
  } catch (const YAML::Exception& error) {
    const std::string place = error.mark.is_null() ? ""
                                                   : " at line " + std::to_string(error.mark.line + 1) + ", column " +
                                                         std::to_string(error.mark.column + 1);
    return caller_error("is not valid YAML" + place + ": " + error.msg + ".");
  } catch (const std::exception& error) {
    return caller_error(std::string("cannot be read as YAML: ") + error.what() + ".");
  }
}

}  // namespace retort::recipe
