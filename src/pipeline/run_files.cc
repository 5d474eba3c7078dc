#include "pipeline/run_files.h"

#include <utility>

#include "base/json.h"
#include "pipeline/stage.h"
#include "tokens/rendered_exchange.h"

namespace retort::pipeline {

Result<std::vector<Digest>> read_collection(const RunFolder& folder) {
  RETORT_ASSIGN(const Json json, read_json(folder, kCollectionFile));
  RETORT_ASSIGN(const auto texts, member<std::vector<std::string>>(json, "ids", kCollectionFile));
  std::vector<Digest> ids;
  ids.reserve(texts.size());
  for (const std::string& text : texts) {
    RETORT_ASSIGN(const Digest id, Digest::from_hex(text));
    ids.push_back(id);
  }
  return ids;
}

Result<std::vector<std::int64_t>> read_kept_layers(const RunFolder& folder) {
  RETORT_ASSIGN(const Json json, read_json(folder, kLayersFile));
  return member<std::vector<std::int64_t>>(json, "kept", kLayersFile);
}

dataset::ReadExchange local_reader(const store::ExchangeStore& store, const LocalModel& local) {
  return [&store, &local](const Digest& id) -> Result<Exchange> {
    RETORT_ASSIGN(Exchange exchange, store.get(id));
    return tokens::with_rendered_tokens(std::move(exchange), local.format,
                                        static_cast<std::size_t>(local.config.context));
  };
}

Result<std::vector<Exchange>> read_exchanges(const RunFolder& folder, const LocalModel& local,
                                             const std::vector<Digest>& ids) {
  RETORT_ASSIGN(const store::ExchangeStore store, store::ExchangeStore::open_read_only(folder.of(kStoreFile)));
  std::vector<Exchange> exchanges;
  exchanges.reserve(ids.size());
  const dataset::ReadExchange read = local_reader(store, local);
  for (const Digest& id : ids) {
    RETORT_ASSIGN(Exchange exchange, read(id));
    exchanges.push_back(std::move(exchange));
  }
  return exchanges;
}

}  // namespace retort::pipeline
