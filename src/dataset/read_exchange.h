// Where exchanges are read from: a store, or a store whose exchanges are prepared on the way.
//
// What is borrowed must outlive the function; call it from one thread.
#pragma once

#include <functional>

#include "base/digest.h"
#include "base/error.h"
#include "exchange/exchange.h"
#include "store/exchange_store.h"

namespace retort::dataset {

// Error: an id that is absent or damaged.
using ReadExchange = std::function<Result<Exchange>(const Digest&)>;

// As they are stored; borrows the store.
inline ReadExchange reader_of(const store::ExchangeStore& store) {
  return [&store](const Digest& id) { return store.get(id); };
}

}  // namespace retort::dataset
