#include "evidence/record.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>

namespace retort::evidence {

namespace {

constexpr std::uint32_t kRecordMark = 0x52564552;  // "REVR", little-endian
constexpr std::string_view kSegmentMark = "RTEVID01";
constexpr std::size_t kHashedFrameBytes = 24;
constexpr std::size_t kLinkBytes = 16;

template <class Number>
void put(std::string& out, Number value) {
  for (std::size_t i = 0; i < sizeof(value); ++i)
    out += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
}

template <class Number>
Number get(std::string_view bytes, std::size_t offset) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[offset + i])) << (8 * i);
  }
  return static_cast<Number>(value);
}

std::string_view bytes_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

ReadRecord broken(std::string why) {
  ReadRecord read;
  read.why = std::move(why);
  return read;
}

}  // namespace

struct ChainHasher::State {
  EVP_MD* sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  State() { RETORT_CHECK(sha256 != nullptr && context != nullptr); }
  ~State() {
    EVP_MD_CTX_free(context);
    EVP_MD_free(sha256);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

ChainHasher::ChainHasher() : state_(std::make_unique<State>()) {}
ChainHasher::~ChainHasher() = default;

Digest ChainHasher::next(const Digest& before, std::string_view frame, std::string_view text,
                         std::string_view attachment) {
  EVP_MD_CTX* context = state_->context;
  Digest chain;
  unsigned int size = 0;
  RETORT_CHECK(EVP_DigestInit_ex2(context, state_->sha256, nullptr) == 1 &&
               EVP_DigestUpdate(context, before.bytes.data(), before.bytes.size()) == 1 &&
               EVP_DigestUpdate(context, frame.data(), frame.size()) == 1 &&
               EVP_DigestUpdate(context, text.data(), text.size()) == 1 &&
               EVP_DigestUpdate(context, attachment.data(), attachment.size()) == 1 &&
               EVP_DigestFinal_ex(context, chain.bytes.data(), &size) == 1 && size == chain.bytes.size());
  return chain;
}

Digest append_record(ChainHasher& hasher, const Digest& before, Kind kind, std::uint64_t sequence,
                     std::string_view text, std::string_view attachment, std::string& out) {
  RETORT_CHECK(text.size() <= kMaxPartBytes && attachment.size() <= kMaxPartBytes);
  const std::size_t begin = out.size();
  put(out, kRecordMark);
  put(out, static_cast<std::uint32_t>(kind));
  put(out, static_cast<std::uint32_t>(text.size()));
  put(out, static_cast<std::uint32_t>(attachment.size()));
  put(out, sequence);
  const Digest chain = hasher.next(before, std::string_view(out).substr(begin, kHashedFrameBytes), text, attachment);
  out += bytes_of(chain).substr(0, kLinkBytes);
  out += text;
  out += attachment;
  return chain;
}

ReadRecord read_record(ChainHasher& hasher, std::string_view bytes, const Digest& before, std::uint64_t sequence) {
  ReadRecord read;
  read.state = ReadState::kCut;
  read.size = kFrameBytes;
  const std::size_t there = std::min<std::size_t>(bytes.size(), 4);
  std::string mark;
  put(mark, kRecordMark);
  if (bytes.substr(0, there) != std::string_view(mark).substr(0, there)) return broken("no record begins there");
  if (bytes.size() < kFrameBytes) return read;
  const auto text_bytes = get<std::uint32_t>(bytes, 8);
  const auto attachment_bytes = get<std::uint32_t>(bytes, 12);
  if (text_bytes > kMaxPartBytes || attachment_bytes > kMaxPartBytes) return broken("its lengths are impossible");
  read.size = kFrameBytes + text_bytes + attachment_bytes;
  if (bytes.size() < read.size) return read;
  RecordView& record = read.record;
  record.kind = static_cast<Kind>(get<std::uint32_t>(bytes, 4));
  record.sequence = get<std::uint64_t>(bytes, 16);
  record.text = bytes.substr(kFrameBytes, text_bytes);
  record.attachment = bytes.substr(kFrameBytes + text_bytes, attachment_bytes);
  if (record.sequence != sequence) {
    return broken("record " + std::to_string(record.sequence) + " stands where record " + std::to_string(sequence) +
                  " belongs: records were removed, repeated, put in another order or changed");
  }
  record.before = before;
  record.chain = hasher.next(before, bytes.substr(0, kHashedFrameBytes), record.text, record.attachment);
  if (bytes_of(record.chain).substr(0, kLinkBytes) != bytes.substr(kHashedFrameBytes, kLinkBytes)) {
    return broken("its bytes were changed, or it follows another record than it was written after");
  }
  read.state = ReadState::kWhole;
  return read;
}

std::string segment_header_bytes(const SegmentHeader& header) {
  std::string out(kSegmentMark);
  put(out, header.number);
  put(out, header.first_sequence);
  out += bytes_of(header.chain);
  put(out, checksum64(std::as_bytes(std::span(out))));
  return out;
}

Result<SegmentHeader> read_segment_header(std::string_view bytes) {
  if (bytes.size() < kSegmentHeaderBytes) return caller_error("its header is cut off");
  if (!bytes.starts_with(kSegmentMark.substr(0, 6))) return caller_error("it is no segment of an evidence spool");
  if (!bytes.starts_with(kSegmentMark)) {
    return caller_error("it is of version " + std::to_string(static_cast<int>(bytes[7]) - '0') +
                        " and this program reads version 1");
  }
  const std::string_view checked = bytes.substr(0, kSegmentHeaderBytes - 8);
  if (checksum64(std::as_bytes(std::span(checked))) != get<std::uint64_t>(bytes, kSegmentHeaderBytes - 8)) {
    return caller_error("its header was changed");
  }
  SegmentHeader header;
  header.number = get<std::uint64_t>(bytes, 8);
  header.first_sequence = get<std::uint64_t>(bytes, 16);
  std::memcpy(header.chain.bytes.data(), bytes.data() + 24, header.chain.bytes.size());
  return header;
}

}  // namespace retort::evidence
