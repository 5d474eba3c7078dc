#include "net/request_head.h"

#include <algorithm>

#include "base/text.h"

namespace retort::net {
namespace {

constexpr std::string_view kEnd = "\r\n\r\n";

bool is_token_char(char c) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return letter || (c >= '0' && c <= '9') || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char); }

bool has_control(std::string_view line) {
  return std::any_of(line.begin(), line.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7f;
  });
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

struct RequestLine {
  std::string_view method, target, version;
};

std::optional<std::string> request_line_fault(std::string_view line, RequestLine& parts) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return "its first line is not METHOD PATH HTTP/1.1";
  parts = {line.substr(0, first), line.substr(first + 1, last - first - 1), line.substr(last + 1)};
  if (!is_token(parts.method)) return "its method is not a word";
  if (parts.version != "HTTP/1.1" && parts.version != "HTTP/1.0") return "only HTTP/1.1 and HTTP/1.0 are spoken here";
  if (parts.target.find(' ') != std::string_view::npos) return "its path has a space";
  if (!parts.target.starts_with('/') && parts.target != "*") return "its path does not begin with '/'";
  return std::nullopt;
}

struct Lengths {
  int hosts = 0, lengths = 0, codings = 0;
};

std::optional<std::string> field_fault(std::string_view line, Lengths& seen) {
  if (line.front() == ' ' || line.front() == '\t') return "a header line is folded; write it on one line";
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return "a header line has no colon";
  const std::string_view name = line.substr(0, colon);
  if (!is_token(name)) return "a header's name has a character that isn't allowed there";
  const std::string_view value = trimmed(line.substr(colon + 1));
  const std::string lower = to_lower_ascii(name);
  if (lower == "host") ++seen.hosts;
  if (lower == "content-length") {
    ++seen.lengths;
    const bool digits = std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (value.empty() || value.size() > 15 || !digits) return "its Content-Length is not a number of bytes";
  }
  if (lower == "transfer-encoding") {
    ++seen.codings;
    if (to_lower_ascii(value) != "chunked") return "its Transfer-Encoding is not 'chunked', the only one taken here";
  }
  return std::nullopt;
}

}  // namespace

std::size_t request_head_end(std::string_view bytes) {
  const std::size_t end = bytes.find(kEnd);
  const std::size_t bare = bytes.substr(0, end).find("\n\n");
  if (bare != std::string_view::npos) return bare + 2;
  const std::size_t mixed = bytes.substr(0, end).find("\n\r\n");
  if (mixed != std::string_view::npos && (mixed == 0 || bytes[mixed - 1] != '\r')) return mixed + 3;
  return end == std::string_view::npos ? end : end + kEnd.size();
}

bool may_become_request(std::string_view bytes) {
  const std::string_view method = bytes.substr(0, bytes.find(' '));
  return method.empty() ? bytes.empty() : is_token(method);
}

std::optional<std::string> request_head_fault(std::string_view head) {
  if (!head.ends_with(kEnd)) return "its lines do not end with CR LF";
  RequestLine request;
  Lengths seen;
  bool first = true;
  for (std::string_view rest = head.substr(0, head.size() - 2); !rest.empty(); first = false) {
    const std::size_t end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 2);
    if (has_control(line)) return "it holds a control character, or a line that does not end with CR LF";
    const auto fault = first ? request_line_fault(line, request) : field_fault(line, seen);
    if (fault) return fault;
  }
  if (seen.hosts > 1) return "it has more than one Host";
  if (seen.hosts == 0 && request.version == "HTTP/1.1") return "it has no Host";
  if (seen.lengths > 0 && seen.codings > 0) return "it has both Content-Length and Transfer-Encoding; send one of them";
  if (seen.lengths > 1) return "it has more than one Content-Length";
  if (seen.codings > 1) return "it has more than one Transfer-Encoding";
  if (seen.codings > 0 && request.version == "HTTP/1.0") return "HTTP/1.0 knows no Transfer-Encoding";
  return std::nullopt;
}

}  // namespace retort::net
