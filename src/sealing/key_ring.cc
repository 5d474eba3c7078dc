#include "sealing/key_ring.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"

namespace retort::sealing {

namespace {

KeyRing::Fingerprint fingerprint_of(const SecretKey& secret) {
  const SecretKey digest = hkdf_sha256(bytes_of(secret), "", "retort sealing fingerprint 1");
  KeyRing::Fingerprint fingerprint{};
  std::copy_n(digest.begin(), fingerprint.size(), fingerprint.begin());
  return fingerprint;
}

bool is_id(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

}  // namespace

KeyRing::~KeyRing() {
  for (Key& key : keys_) OPENSSL_cleanse(key.secret.data(), key.secret.size());
}

Result<KeyRing> KeyRing::parse(std::string_view text, const std::string& what) {
  RETORT_ASSIGN(const Json json, parse_json(text, what));
  const auto list = json.is_object() ? json.find("keys") : json.end();
  if (!json.is_object() || list == json.end() || !list->is_array() || list->empty()) {
    return caller_error(
        what + " is no key ring; expected {\"keys\": [{\"id\", \"created\", \"secret\"}]} with a key at least.");
  }
  KeyRing ring;
  for (const Json& item : *list) {
    if (!item.is_object()) return caller_error(what + ": each key is an object with id, created and secret.");
    Key key;
    RETORT_ASSIGN(key.id, member<std::string>(item, "id", what));
    RETORT_ASSIGN(key.created, member<std::string>(item, "created", what));
    RETORT_ASSIGN(std::string secret, member<std::string>(item, "secret", what));
    const auto bytes = key_from_base64(secret, what + ": the secret of the key '" + key.id + "'");
    OPENSSL_cleanse(secret.data(), secret.size());
    RETORT_ASSIGN(key.secret, bytes);
    key.fingerprint = fingerprint_of(key.secret);
    if (!is_id(key.id))
      return caller_error(what + ": '" + key.id + "' is no id; expected letters, digits, '-', '_', '.'.");
    for (const Key& other : ring.keys_) {
      if (other.id == key.id || other.fingerprint == key.fingerprint) {
        return caller_error(what + ": the key '" + key.id + "' is there twice, by its id or by its secret.");
      }
    }
    ring.keys_.push_back(std::move(key));
  }
  for (std::size_t i = 0; i < ring.keys_.size(); ++i) {
    if (ring.keys_[i].created >= ring.keys_[ring.newest_].created) ring.newest_ = i;
  }
  return ring;
}

Result<KeyRing> KeyRing::read(const std::filesystem::path& path) {
  RETORT_ASSIGN(std::string text, read_secret_file(path));
  auto ring = parse(text, "'" + path.string() + "'");
  OPENSSL_cleanse(text.data(), text.size());
  return ring;
}

Result<KeyRing> KeyRing::add(const std::filesystem::path& path, std::string_view id, std::int64_t unix_ms) {
  if (!is_id(id)) {
    return caller_error("'" + std::string(id) + "' is no id for a key; expected letters, digits, '-', '_', '.'.");
  }
  KeyRing ring;
  if (is_there(path)) {
    RETORT_ASSIGN(ring, read(path));
  }
  Key key;
  key.id = id;
  key.created = iso_time(unix_ms);
  RETORT_ASSIGN(key.secret, random_key());
  ring.keys_.push_back(key);
  Json json = {{"keys", Json::array()}};
  for (const Key& one : ring.keys_) {
    json["keys"].push_back({{"id", one.id}, {"created", one.created}, {"secret", base64(bytes_of(one.secret))}});
  }
  std::string text = json.dump(2) + "\n";
  auto checked = parse(text, "The key ring");
  if (!checked) return checked;
  const auto written = write_secret_file(path, text);
  OPENSSL_cleanse(text.data(), text.size());
  OPENSSL_cleanse(key.secret.data(), key.secret.size());
  RETORT_TRY(written);
  return checked;
}

const KeyRing::Key* KeyRing::find(const Fingerprint& fingerprint) const {
  for (const Key& key : keys_) {
    if (key.fingerprint == fingerprint) return &key;
  }
  return nullptr;
}

}  // namespace retort::sealing
