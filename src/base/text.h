// Small text functions that several modules need. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

bool is_valid_utf8(std::string_view text);

// How many bytes at the end of `text` are the beginning of an unfinished UTF-8 character (0..3): a streaming writer
// holds them back.
std::size_t unfinished_utf8_suffix(std::string_view text);

// The candidate with the smallest edit distance, if it is near enough to be a likely misspelling; else empty.
std::string nearest(std::string_view text, std::span<const std::string> candidates);

// "1.5 GB", "12.3 MB", "999 B" (decimal units).
std::string human_bytes(std::uint64_t bytes);
// "1 h 02 min", "3 min 05 s", "12.3 s".
std::string human_seconds(double seconds);
// 12345 -> "12,345".
std::string human_count(std::int64_t count);

std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
// Unicode-unaware: ASCII letters only, which is what keys and hosts need.
std::string to_lower_ascii(std::string_view text);

}  // namespace retort
