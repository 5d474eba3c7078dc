#include "api/multipart.h"

#include <algorithm>

#include "base/text.h"

namespace retort::api {
namespace {

constexpr std::size_t kMostParts = 64;
constexpr std::size_t kMostHead = 8 << 10;
constexpr std::size_t kMostBoundary = 70;  // RFC 2046, 5.1.1

Failure malformed(const std::string& what) {
  return caller_error("The form can't be read: " + what +
                      "; expected multipart/form-data as clients of the API send it.");
}

// The value of a parameter, in quotes or not, from `text`, which begins with it; what follows stays in `text`.
Result<std::string> take_value(std::string_view& text) {
  std::string value;
  if (!text.starts_with('"')) {
    const std::size_t end = std::min(text.find_first_of("; \t"), text.size());
    value = text.substr(0, end);
    text.remove_prefix(end);
    if (value.find_first_of("\"\\") != std::string::npos) return malformed("a parameter has a quote within");
    return value;
  }
  const std::size_t end = text.find('"', 1);
  if (end == std::string_view::npos) return malformed("a quote isn't closed");
  value = text.substr(1, end - 1);
  // Escapes are read in different ways.
  if (value.find('\\') != std::string::npos) return malformed("a parameter has a backslash in it");
  text.remove_prefix(end + 1);
  return value;
}

struct Parameters {
  std::string kind;  // what stands before the first ';', in lower case
  std::vector<std::pair<std::string, std::string>> all;
  // Nothing: there is none. Names of parameters are the same in both cases.
  const std::string* find(std::string_view name) const {
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.first == name; });
    return found == all.end() ? nullptr : &found->second;
  }
};

Result<Parameters> parameters_of(std::string_view text) {
  Parameters read;
  const std::size_t first = std::min(text.find(';'), text.size());
  read.kind = to_lower_ascii(trim(text.substr(0, first)));
  text.remove_prefix(first);
  while (!text.empty()) {
    if (text.front() != ';') return malformed("a parameter is followed by something else");
    text = trim(text.substr(1));
    if (text.empty()) break;
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) return malformed("a parameter has no value");
    const std::string name = to_lower_ascii(trim(text.substr(0, equals)));
    text.remove_prefix(equals + 1);
    RETORT_ASSIGN(std::string value, take_value(text));
    if (read.find(name) != nullptr) return malformed("'" + name + "' stands there twice");
    read.all.emplace_back(name, std::move(value));
    text = trim(text);
  }
  return read;
}

Result<std::string> boundary_of(std::string_view content_type) {
  RETORT_ASSIGN(const Parameters read, parameters_of(content_type));
  const std::string* boundary = read.find("boundary");
  if (read.kind != "multipart/form-data" || boundary == nullptr) return malformed("its content type is another");
  // "boundary*" and its like are read by some.
  for (const auto& [name, value] : read.all) {
    if (name != "boundary" && name != "charset") return malformed("its content type has the parameter '" + name + "'");
  }
  const bool plain = std::all_of(boundary->begin(), boundary->end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("'()+_,-./:=?").find(c) != std::string_view::npos;
  });
  if (!plain || boundary->empty() || boundary->size() > kMostBoundary) return malformed("its boundary is none");
  return *boundary;
}

Result<void> read_part_head(std::string_view head, FormPart& part) {
  bool named = false;
  while (!head.empty()) {
    const std::size_t end = std::min(head.find("\r\n"), head.size());
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(end + 2, head.size()));
    const std::size_t colon = line.find(':');
    const bool folded = line.starts_with(' ') || line.starts_with('\t');
    if (folded || colon == std::string_view::npos || line.find_first_of("\r\n") != std::string_view::npos) {
      return malformed("a part's header is none");
    }
    const std::string name = to_lower_ascii(line.substr(0, colon));
    if (name == "content-transfer-encoding") return malformed("a part is encoded");
    if (name == "content-type" && to_lower_ascii(trim(line.substr(colon + 1))).starts_with("multipart/")) {
      return malformed("a part is a form of its own");
    }
    if (name != "content-disposition") continue;
    RETORT_ASSIGN(const Parameters read, parameters_of(line.substr(colon + 1)));
    const std::string* own = read.find("name");
    const bool known = std::all_of(read.all.begin(), read.all.end(), [](const auto& one) {
      return one.first == "name" || one.first == "filename" || one.first == "filename*";
    });
    if (named || read.kind != "form-data" || own == nullptr || !known) {
      return malformed("a part has no name, or several");
    }
    if (*own == "_charset_") return malformed("it names another encoding");
    named = true;
    part.name = *own;
    part.file = read.find("filename") != nullptr || read.find("filename*") != nullptr;
  }
  if (!named) return malformed("a part has no name");
  return {};
}

}  // namespace

Result<std::vector<FormPart>> read_form(std::string_view content_type, std::string_view body) {
  RETORT_ASSIGN(const std::string boundary, boundary_of(content_type));
  const std::string mark = "--" + boundary;
  if (!body.starts_with(mark + "\r\n")) return malformed("it doesn't begin with its boundary");
  std::vector<FormPart> parts;
  std::size_t at = mark.size() + 2;  // behind a boundary's line
  while (true) {
    const std::size_t next = body.find(mark, at);
    if (next == std::string_view::npos) return malformed("it has no end");
    if (next < at + 2 || body.substr(next - 2, 2) != "\r\n") return malformed("its boundary stands within a part");
    const std::string_view all = body.substr(at, next - 2 - at);
    const std::size_t blank = all.find("\r\n\r\n");
    if (blank == std::string_view::npos || blank > kMostHead) return malformed("a part has no header");
    FormPart part;
    RETORT_TRY(read_part_head(all.substr(0, blank), part));
    part.content = all.substr(blank + 4);
    const bool twice = std::any_of(parts.begin(), parts.end(), [&](const auto& one) { return one.name == part.name; });
    if (twice) return malformed("the part '" + part.name + "' stands there twice");
    if (parts.size() == kMostParts) return malformed("it has too many parts");
    parts.push_back(std::move(part));
    at = next + mark.size();
    const std::string_view rest = body.substr(at);
    if (rest == "--" || rest == "--\r\n") return parts;
    if (!rest.starts_with("\r\n")) return malformed("its boundary goes on");
    at += 2;
  }
}

}  // namespace retort::api
