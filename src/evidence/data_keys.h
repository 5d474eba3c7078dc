// Data keys: one for each organisation and day, under which payloads of evidence are encrypted. To erase is to destroy
// the key: the record keeps the ciphertext, which the chain is over, and nobody reads it again.
//
// FOLDER/YYYY-MM-DD.keys holds a slot of 104 bytes for each key, wrapped by AES-256-GCM under a master key that lies
// elsewhere (docs/formats/evidence.md). Erasing writes zeros over the wrapped key and flushes; a sweep removes whole
// days. On media that keep old blocks (copy-on-write, wear levelling, backups) what was overwritten may survive there,
// wrapped: rotate the master key where that matters.
//
// Any thread. One writing process per folder (the spool's lock stands for it); reading needs no lock.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cryptography.h"
#include "base/error.h"

namespace retort::evidence {

struct DataKey {
  std::string id;  // 16 hexadecimal digits, random
  SecretKey key{};
};

class DataKeys {
 public:
  // The folder is made when a first key is. `master`: wraps the keys.
  DataKeys(std::filesystem::path folder, const SecretKey& master);
  ~DataKeys();
  DataKeys(const DataKeys&) = delete;
  DataKeys& operator=(const DataKeys&) = delete;

  // The organisation's key of this day (YYYY-MM-DD), made when there is none; it is in the file when this returns, and
  // on the disk after sync(). Error: kWorld.
  Result<DataKey> of(std::string_view organisation, std::string_view day);
  // Makes new keys durable. Call before the records that use them are flushed.
  Result<void> sync();
  // The key with this id. Empty: it was erased or swept, or never was. Error: kCaller when the master key is another.
  Result<std::optional<SecretKey>> find(std::string_view day, std::string_view id) const;

  // Destroys the organisation's keys of that day, or of all days. Returns how many; durable when it returns.
  Result<std::size_t> erase(std::string_view organisation, std::optional<std::string> day = std::nullopt);
  // Destroys the keys of all days before `first_kept`. Returns the days.
  Result<std::vector<std::string>> sweep(std::string_view first_kept);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort::evidence
