#include "frame/terminal_progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/text.h"

namespace retort::app {
namespace {

constexpr double kRedrawEvery_s = 0.1;
constexpr double kLineEvery_s = 10.0;
constexpr double kLineEveryShare = 0.1;
constexpr int kTitleWidth = 10;
constexpr int kBarWidth = 24;

std::string quantity(double value, const std::string& unit) {
  if (unit == "bytes") return human_bytes(static_cast<std::uint64_t>(std::max(0.0, value)));
  return human_count(static_cast<std::int64_t>(std::llround(value)));
}

std::string rate(double per_s, const std::string& unit) {
  if (unit == "bytes") return human_bytes(static_cast<std::uint64_t>(per_s)) + "/s";
  char text[64];
  if (per_s >= 10) {
    return human_count(static_cast<std::int64_t>(std::llround(per_s))) + " " + unit + "/s";
  }
  std::snprintf(text, sizeof(text), "%.2g ", per_s);
  return text + unit + "/s";
}

}  // namespace

TerminalProgress::TerminalProgress(std::FILE* stream, bool terminal, const Clock& clock)
    : stream_(stream), terminal_(terminal), clock_(clock) {}

TerminalProgress::~TerminalProgress() {
  if (drawn_) std::fputc('\n', stream_);
}

void TerminalProgress::begin(std::string_view title, double total, std::string_view unit) {
  if (active_) clear_line();
  active_ = true;
  title_ = title;
  unit_ = unit;
  total_ = total;
  done_ = first_done_ = 0;
  has_first_ = false;
  detail_.clear();
  started_s_ = clock_.monotonic_s();
  drawn_s_ = started_s_;
  drawn_share_ = 0;
  if (terminal_) draw();
}

void TerminalProgress::advance(double done, std::string_view detail) {
  if (!active_) return;
  done_ = done;
  if (!has_first_) {
    has_first_ = true;
    first_done_ = done;
    drawn_share_ = total_ > 0 ? done / total_ : 0;
  }
  detail_ = detail;
  const double now_s = clock_.monotonic_s();
  if (terminal_) {
    if (now_s - drawn_s_ >= kRedrawEvery_s) draw();
    return;
  }
  const double share = total_ > 0 ? done_ / total_ : 0;
  const bool moved = total_ <= 0 || share - drawn_share_ >= kLineEveryShare;
  if (now_s - drawn_s_ >= kLineEvery_s && (moved || now_s - drawn_s_ >= 6 * kLineEvery_s)) {
    drawn_s_ = now_s;
    drawn_share_ = share;
    std::fprintf(stream_, "%s\n", line(200).c_str());
    std::fflush(stream_);
  }
}

void TerminalProgress::end(std::string_view summary) {
  if (!active_) return;
  clear_line();
  active_ = false;
  std::fprintf(stream_, "%-*s %s  (%s)\n", kTitleWidth, title_.c_str(), std::string(summary).c_str(),
               human_seconds(clock_.monotonic_s() - started_s_).c_str());
  std::fflush(stream_);
}

void TerminalProgress::note(std::string_view sentence) {
  clear_line();
  std::fprintf(stream_, "%s\n", std::string(sentence).c_str());
  std::fflush(stream_);
  if (active_ && terminal_) draw();
}

void TerminalProgress::clear_line() {
  if (!drawn_) return;
  std::fputs("\r\x1b[2K", stream_);
  drawn_ = false;
}

std::string TerminalProgress::line(int width) const {
  char title[64];
  std::snprintf(title, sizeof(title), "%-*s ", kTitleWidth, title_.c_str());
  std::string text = title;
  const double elapsed_s = clock_.monotonic_s() - started_s_;
  const double per_s = elapsed_s > 0.5 ? (done_ - first_done_) / elapsed_s : 0;
  if (total_ > 0) {
    const double share = std::clamp(done_ / total_, 0.0, 1.0);
    if (terminal_) {
      const int filled = static_cast<int>(share * kBarWidth);
      text += '[';
      for (int i = 0; i < kBarWidth; ++i) text += i < filled ? '#' : '.';
      text += "] ";
    }
    char percent[16];
    std::snprintf(percent, sizeof(percent), "%3d%%  ", static_cast<int>(share * 100));
    text += percent;
    text += quantity(done_, unit_) + " of " + quantity(total_, unit_) + (unit_ == "bytes" ? "" : " " + unit_);
    if (per_s > 0) {
      text += "  " + rate(per_s, unit_);
      if (share < 1) text += "  " + human_seconds((total_ - done_) / per_s) + " left";
    }
  } else {
    text += quantity(done_, unit_) + (unit_ == "bytes" ? "" : " " + unit_);
    if (per_s > 0) text += "  " + rate(per_s, unit_);
  }
  if (!detail_.empty()) text += "  " + detail_;
  if (static_cast<int>(text.size()) > width) {
    text.resize(static_cast<std::size_t>(width));
    text.resize(text.size() - unfinished_utf8_suffix(text));
  }
  return text;
}

void TerminalProgress::draw() {
  int width = 100;
  winsize size{};
  if (ioctl(fileno(stream_), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) width = size.ws_col;
  clear_line();
  std::fputs(line(width - 1).c_str(), stream_);
  std::fflush(stream_);
  drawn_ = true;
  drawn_s_ = clock_.monotonic_s();
}

}  // namespace retort::app
