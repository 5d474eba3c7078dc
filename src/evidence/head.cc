#include "evidence/head.h"

#include <algorithm>

#include "base/json.h"

namespace retort::evidence {

namespace {

Json unsigned_json(const Head& head) {
  Json json = {{"sequence", head.sequence}, {"chain", head.chain.hex()}, {"time", head.time}, {"key", head.key}};
  if (head.closed) json["closed"] = true;
  return json;
}

// The prefix keeps the signature from being taken for one over anything else.
std::string message_of(const Json& unsigned_head) { return "retort evidence head 1\n" + canonical_json(unsigned_head); }

}  // namespace

std::string signed_head(const Head& head, const SigningKey& key) {
  Json json = unsigned_json(head);
  json["signature"] = base64(bytes_of(key.sign(message_of(json))));
  return canonical_json(json);
}

Result<Head> read_head(std::string_view text, const PublicKey& key) {
  RETORT_ASSIGN(Json json, parse_json(text, "The signed head"));
  if (!json.is_object()) return caller_error("The signed head is no JSON object.");
  Head head;
  RETORT_ASSIGN(head.sequence, member<std::uint64_t>(json, "sequence", "The signed head"));
  RETORT_ASSIGN(const std::string chain, member<std::string>(json, "chain", "The signed head"));
  RETORT_ASSIGN(head.chain, Digest::from_hex(chain));
  RETORT_ASSIGN(head.time, member<std::string>(json, "time", "The signed head"));
  RETORT_ASSIGN(head.key, member<std::string>(json, "key", "The signed head"));
  if (const auto closed = json.find("closed"); closed != json.end()) head.closed = *closed == true;
  RETORT_ASSIGN(const std::string encoded, member<std::string>(json, "signature", "The signed head"));
  const auto bytes = from_base64(encoded);
  Signature signature{};
  if (!bytes || bytes->size() != signature.size()) return caller_error("The signed head holds no Ed25519 signature.");
  std::copy(bytes->begin(), bytes->end(), reinterpret_cast<char*>(signature.data()));
  json.erase("signature");
  if (!key.verify(message_of(json), signature)) {
    return caller_error("The head over record " + std::to_string(head.sequence) + " is not signed by the key " +
                        key.id() +
                        (head.key == key.id() ? ": it was changed." : "; it names the key " + head.key + "."));
  }
  return head;
}

}  // namespace retort::evidence
