#include "evidence/payload.h"

#include <cstring>

namespace retort::evidence {

namespace {

std::string associated(std::string_view key_id, Kind kind, std::string_view exchange_id) {
  std::string text = "retort payload 1\n";
  text += std::to_string(static_cast<std::uint32_t>(kind));
  text += '\n';
  text += key_id;
  text += '\n';
  text += exchange_id;
  return text;
}

}  // namespace

Result<std::string> seal_payload(const Aead& aead, const DataKey& key, Kind kind, std::string_view exchange_id,
                                 std::string_view plaintext) {
  Aead::Nonce nonce{};
  RETORT_TRY(random_bytes(nonce));
  std::string out;
  out.reserve(nonce.size() + plaintext.size() + Aead::kTagBytes);
  out += bytes_of(nonce);
  aead.seal(key.key, nonce, associated(key.id, kind, exchange_id), plaintext, out);
  return out;
}

std::optional<std::string> open_payload(const Aead& aead, const SecretKey& key, std::string_view key_id, Kind kind,
                                        std::string_view exchange_id, std::string_view payload) {
  Aead::Nonce nonce{};
  if (payload.size() < nonce.size()) return std::nullopt;
  std::memcpy(nonce.data(), payload.data(), nonce.size());
  return aead.open(key, nonce, associated(key_id, kind, exchange_id), payload.substr(nonce.size()));
}

}  // namespace retort::evidence
