#include "collect/prober.h"

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"
#include "collect/spending.h"
#include "provider/account.h"

namespace retort::collect {
namespace {

constexpr std::int64_t kCapabilityAge_ms = 7LL * 24 * 3600 * 1000;

// What an earlier probe of the same place and model found, unless it is old or can't be read.
std::optional<provider::Capabilities> remembered(const std::filesystem::path& file, std::int64_t unix_ms) {
  if (!is_there(file)) return std::nullopt;
  const auto text = read_file(file);
  if (!text) return std::nullopt;
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object() || !json.contains("probed_unix_ms")) return std::nullopt;
  if (unix_ms - json["probed_unix_ms"].get<std::int64_t>() > kCapabilityAge_ms) return std::nullopt;
  auto found = provider::capabilities_from_json(json);
  return found ? std::optional(std::move(*found)) : std::nullopt;
}

}  // namespace

Prober::Prober(const RemoteSource& source, const provider::Dialect& dialect, const CollectOptions& options,
               const std::filesystem::path& folder, const RemoteJob::World& world)
    : source_(source),
      dialect_(dialect),
      options_(options),
      folder_(folder),
      ledger_(world.ledger),
      clock_(world.clock),
      ready_(options.ready_s, options.seed, world.transport, world.clock, world.progress, world.stop) {}

Result<provider::Capabilities> Prober::all() {
  std::optional<provider::Capabilities> both;
  for (const provider::Endpoint& endpoint : source_.endpoints) {
    RETORT_ASSIGN(provider::Capabilities found, one(endpoint));
    both = both ? provider::common(*both, found) : std::move(found);
  }
  return *both;
}

Result<provider::Capabilities> Prober::one(const provider::Endpoint& endpoint) {
  const std::string place = std::string(dialect_.name()) + "\n" + endpoint.url + "\n" + source_.teacher.model;
  const std::filesystem::path file = folder_ / (sha256(place).hex().substr(0, 32) + ".json");
  if (auto known = remembered(file, clock_.unix_ms())) {
    // It may be loading again. Whatever else it answers to this is the collection's to hear.
    if (provider::is_own_url(endpoint.url)) {
      net::HttpCall look;
      look.method = "GET";
      look.url = endpoint.url + "/models";
      look.headers = dialect_.headers(endpoint.key);
      look.timeout_s = 30;
      RETORT_TRY(carry_out(endpoint, look, std::nullopt));
    }
    return std::move(*known);
  }
  const provider::ProbeTarget target{dialect_, endpoint.url, endpoint.key, source_.teacher.model};
  const auto ask = [&](const net::HttpCall& call, std::optional<provider::WorstCase> bill) {
    return carry_out(endpoint, call, bill);
  };
  RETORT_ASSIGN(provider::Capabilities found, provider::probe(target, ask, iso_time(clock_.unix_ms())));
  Json json = provider::to_json(found);
  json["probed_unix_ms"] = clock_.unix_ms();
  json["endpoint"] = endpoint.url;
  json["model"] = source_.teacher.model;
  RETORT_TRY(make_folder(folder_));
  RETORT_TRY(write_file(file, json.dump(1) + "\n"));
  return found;
}

Result<net::HttpOutcome> Prober::carry_out(const provider::Endpoint& endpoint, const net::HttpCall& call,
                                           std::optional<provider::WorstCase> bill) {
  while (true) {
    RETORT_ASSIGN(net::HttpOutcome outcome, bill ? pay(endpoint, call, *bill) : ready_.perform(call));
    RETORT_ASSIGN(const bool again, ready_.again(endpoint.url, outcome, !bill));
    if (!again) return outcome;
  }
}

Result<net::HttpOutcome> Prober::pay(const provider::Endpoint& endpoint, const net::HttpCall& call,
                                     const provider::WorstCase& bill) {
  RETORT_ASSIGN(const store::Totals before, ledger_.totals());
  Spending spending(options_, before);
  if (!spending.fits(bill)) {
    return world_error(
        "The budget doesn't allow even the few tokens that find out what the teacher can give. Raise "
        "collect.budget.");
  }
  store::Reservation reservation;
  reservation.slot = {"probe", -1};
  reservation.request = sha256(call.body);
  reservation.endpoint = endpoint.url;
  reservation.at_unix_ms = clock_.unix_ms();
  reservation.input_tokens = bill.input;
  reservation.output_tokens = bill.output;
  reservation.nano_usd = spending.cost(bill.input, bill.output);
  RETORT_ASSIGN(const std::vector<std::int64_t> numbers, ledger_.reserve(std::span(&reservation, 1)));
  RETORT_ASSIGN(net::HttpOutcome outcome, ready_.perform(call));
  // An answer's own count where there is one; else what it can have cost.
  store::Settlement settlement;
  settlement.reservation = numbers.front();
  settlement.at_unix_ms = clock_.unix_ms();
  settlement.status = outcome.status;
  const bool refused = outcome.status >= 300 || outcome.trouble == net::Trouble::kConnect;
  settlement.outcome = refused ? "refused" : "answered";
  if (!refused) {
    const auto answer = dialect_.read(outcome);
    const bool told = answer && answer->usage;
    settlement.input_tokens = told ? answer->usage->input : bill.input;
    settlement.output_tokens = told ? answer->usage->output : bill.output;
    settlement.nano_usd = spending.cost(settlement.input_tokens, settlement.output_tokens);
  }
  RETORT_TRY(ledger_.settle(std::span(&settlement, 1)));
  return outcome;
}

}  // namespace retort::collect
