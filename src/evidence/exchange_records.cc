#include "evidence/exchange_records.h"

#include <array>
#include <charconv>
#include <chrono>
#include <utility>

#include "base/json.h"
#include "evidence/json_text.h"

namespace retort::evidence {

namespace {

constexpr std::array<std::pair<Ended, std::string_view>, 7> kEnded = {{{Ended::kComplete, "complete"},
                                                                       {Ended::kClientAborted, "client_aborted"},
                                                                       {Ended::kUpstreamFailed, "upstream_failed"},
                                                                       {Ended::kTimedOut, "timed_out"},
                                                                       {Ended::kCutByPolicy, "cut_by_policy"},
                                                                       {Ended::kDrained, "drained"},
                                                                       {Ended::kHandedOver, "handed_over"}}};

// Calendar arithmetic without the C library, which takes a lock for the time zone.
std::chrono::year_month_day date_of(std::int64_t unix_ms) {
  return std::chrono::floor<std::chrono::days>(
      std::chrono::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(unix_ms)));
}

void append_digits(std::string& out, std::int64_t value, int width) {
  std::array<char, 20> digits{};
  for (int i = width; i-- > 0; value /= 10) digits[static_cast<std::size_t>(i)] = static_cast<char>('0' + value % 10);
  out.append(digits.data(), static_cast<std::size_t>(width));
}

void append_strings(std::string& out, const std::vector<std::string>& values) {
  out += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    append_json_string(out, values[i]);
  }
  out += ']';
}

void append_exposure(const Exposure& exposure, std::string& out) {
  JsonText json(out);
  json.true_if("batch", exposure.batch);
  json.text_unless_empty("effort", exposure.effort);
  json.true_if("logit_bias", exposure.logit_bias);
  json.true_if("logprobs", exposure.logprobs);
  json.number_unless_zero("max_tokens", exposure.max_tokens);
  json.number_unless_zero("n", exposure.n);
  json.true_if("reasoning", exposure.reasoning);
  json.true_if("seed", exposure.seed);
  json.true_if("store", exposure.store);
  json.true_if("stream", exposure.stream);
  json.true_if("tools", exposure.tools);
  json.number_unless_zero("top_logprobs", exposure.top_logprobs);
  json.end();
}

void append_decision(const Decision& decision, std::string& out) {
  JsonText json(out);
  json.boolean("allowed", decision.allowed);
  json.text_unless_empty("reason", decision.reason);
  json.text_unless_empty("rule", decision.rule);
  if (!decision.steps.empty()) append_strings(json.member("steps"), decision.steps);
  if (!decision.withheld.empty()) append_strings(json.member("withheld"), decision.withheld);
  json.end();
}

void append_sealed(const Sealed& sealed, std::string& out) {
  JsonText json(out);
  json.text("day", sealed.day);
  json.text("key", sealed.key);
  json.end();
}

void append_texts(const std::vector<TextFacts>& texts, std::string& out) {
  out += '[';
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) out += ',';
    JsonText json(out);
    json.number("bytes", texts[i].bytes);
    json.text("name", texts[i].name);
    // Base64 needs no escapes.
    if (texts[i].sketch) ((json.member("sketch") += '"') += texts[i].sketch->text()) += '"';
    json.number("words", texts[i].words);
    json.end();
  }
  out += ']';
}

// Reads members that may be absent; the first wrong type is remembered.
class Members {
 public:
  Members(const Json& json, std::string what) : json_(json), what_(std::move(what)) {}

  template <class T>
  void read(const char* name, T& value) {
    const auto found = json_.find(name);
    if (found == json_.end()) return;
    try {
      value = found->get<T>();
    } catch (const nlohmann::json::exception&) {
      if (wrong_.empty()) wrong_ = name;
    }
  }
  // The canonical text of an object.
  void read_object(const char* name, std::string& text) {
    if (const Json* found = object(name)) text = canonical_json(*found);
  }
  const Json* object(const char* name) {
    const auto found = json_.find(name);
    if (found == json_.end()) return nullptr;
    if (found->is_object()) return &*found;
    if (wrong_.empty()) wrong_ = name;
    return nullptr;
  }
  const Json* array(const char* name) {
    const auto found = json_.find(name);
    if (found == json_.end()) return nullptr;
    if (found->is_array()) return &*found;
    if (wrong_.empty()) wrong_ = name;
    return nullptr;
  }
  Result<void> done() const {
    if (wrong_.empty()) return {};
    return caller_error(what_ + ": the member '" + wrong_ + "' has the wrong type.");
  }

 private:
  const Json& json_;
  std::string what_;
  std::string wrong_;
};

Result<void> read_exposure(const Json* json, Exposure& exposure) {
  if (json == nullptr) return {};
  Members members(*json, "The record's exposure");
  members.read("batch", exposure.batch);
  members.read("effort", exposure.effort);
  members.read("logit_bias", exposure.logit_bias);
  members.read("logprobs", exposure.logprobs);
  members.read("max_tokens", exposure.max_tokens);
  members.read("n", exposure.n);
  members.read("reasoning", exposure.reasoning);
  members.read("seed", exposure.seed);
  members.read("store", exposure.store);
  members.read("stream", exposure.stream);
  members.read("tools", exposure.tools);
  members.read("top_logprobs", exposure.top_logprobs);
  return members.done();
}

Result<void> read_texts(const Json* json, std::vector<TextFacts>& texts) {
  if (json == nullptr) return {};
  for (const Json& item : *json) {
    if (!item.is_object()) return caller_error("The record's texts: expected objects.");
    TextFacts facts;
    std::string sketch;
    Members members(item, "The record's texts");
    members.read("name", facts.name);
    members.read("bytes", facts.bytes);
    members.read("words", facts.words);
    members.read("sketch", sketch);
    RETORT_TRY(members.done());
    if (!sketch.empty()) {
      RETORT_ASSIGN(facts.sketch, Sketch::from_text(sketch));
    }
    texts.push_back(std::move(facts));
  }
  return {};
}

Result<void> read_sealed(const Json* json, std::optional<Sealed>& sealed) {
  if (json == nullptr) return {};
  sealed.emplace();
  Members members(*json, "The record's sealed payload");
  members.read("day", sealed->day);
  members.read("key", sealed->key);
  return members.done();
}

Result<void> read_time(Members& members, std::int64_t& unix_ms) {
  std::string time;
  members.read("time", time);
  if (time.empty()) return caller_error("The record has no time.");
  RETORT_ASSIGN(unix_ms, unix_ms_of(time));
  return {};
}

}  // namespace

std::string_view name_of(Ended ended) {
  for (const auto& [value, name] : kEnded) {
    if (value == ended) return name;
  }
  return "complete";
}

std::string utc_day(std::int64_t unix_ms) {
  const auto date = date_of(unix_ms);
  std::string out;
  append_digits(out, static_cast<int>(date.year()), 4);
  out += '-';
  append_digits(out, static_cast<unsigned>(date.month()), 2);
  out += '-';
  append_digits(out, static_cast<unsigned>(date.day()), 2);
  return out;
}

std::string rfc3339_ms(std::int64_t unix_ms) {
  constexpr std::int64_t kDayMs = 86'400'000;
  const std::int64_t of_day = ((unix_ms % kDayMs) + kDayMs) % kDayMs;
  std::string out = utc_day(unix_ms);
  out += 'T';
  append_digits(out, of_day / 3'600'000, 2);
  out += ':';
  append_digits(out, of_day / 60'000 % 60, 2);
  out += ':';
  append_digits(out, of_day / 1000 % 60, 2);
  out += '.';
  append_digits(out, of_day % 1000, 3);
  out += 'Z';
  return out;
}

Result<std::int64_t> unix_ms_of(std::string_view text) {
  const auto wrong = [&] {
    return caller_error("'" + std::string(text.substr(0, 40)) +
                        "' is no time; expected one such as 2026-11-22T04:37:47.123Z.");
  };
  constexpr std::string_view kForm = "0000-00-00T00:00:00.000Z";
  if (text.size() != kForm.size()) return wrong();
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    if (kForm[i] == '0' ? (text[i] < '0' || text[i] > '9') : text[i] != kForm[i]) return wrong();
  }
  const auto number = [&](std::size_t begin, std::size_t size) {
    int value = 0;
    std::from_chars(text.data() + begin, text.data() + begin + size, value);
    return value;
  };
  const std::chrono::year_month_day date{std::chrono::year(number(0, 4)),
                                         std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                         std::chrono::day(static_cast<unsigned>(number(8, 2)))};
  if (!date.ok() || number(11, 2) > 23 || number(14, 2) > 59 || number(17, 2) > 60) return wrong();
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return ((days * 24 + number(11, 2)) * 60 + number(14, 2)) * 60'000 + number(17, 2) * 1000 + number(20, 3);
}

void append_json(const AdmissionRecord& record, std::string& out) {
  JsonText json(out);
  json.text_unless_empty("account", record.account);
  if (record.asked != Exposure{}) append_exposure(record.asked, json.member("asked"));
  json.true_if("batch", record.batch);
  if (record.client != Client{}) {
    JsonText client(json.member("client"));
    client.text_unless_empty("ip", record.client.ip);
    client.text_unless_empty("ja4", record.client.ja4);
    client.text_unless_empty("user_agent", record.client.user_agent);
    client.end();
  }
  json.text_unless_empty("conversation", record.conversation);
  append_decision(record.decision, json.member("decision"));
  json.text_unless_empty("dialect", record.dialect);
  json.text_unless_empty("end_customer", record.end_customer);
  if (record.granted != Exposure{}) append_exposure(record.granted, json.member("granted"));
  json.text("id", record.id);
  json.text_unless_empty("in_force", record.in_force);
  json.text_unless_empty("model", record.model);
  if (!record.network.empty()) json.member("network") += record.network;
  json.text_unless_empty("organisation", record.organisation);
  json.text_unless_empty("path", record.path);
  json.number_unless_zero("reserved_nano_usd", record.reserved_nano_usd);
  if (record.sealed) append_sealed(*record.sealed, json.member("sealed"));
  json.number_unless_zero("status", record.status);
  if (!record.texts.empty()) append_texts(record.texts, json.member("texts"));
  json.text_unless_empty("tier", record.tier);
  json.text("time", rfc3339_ms(record.time_unix_ms));
  json.end();
}

void append_json(const CompletionRecord& record, std::string& out) {
  JsonText json(out);
  json.text("ended", name_of(record.ended));
  if (!record.facts.empty()) json.member("facts") += record.facts;
  json.text_unless_empty("finish", record.finish);
  json.number_unless_zero("first_byte_us", record.first_byte_us);
  json.text("id", record.id);
  json.number_unless_zero("nano_usd", record.nano_usd);
  json.text_unless_empty("organisation", record.organisation);
  json.number_unless_zero("request_bytes", record.request_bytes);
  json.number_unless_zero("response_bytes", record.response_bytes);
  if (record.sealed) append_sealed(*record.sealed, json.member("sealed"));
  json.number_unless_zero("status", record.status);
  if (!record.texts.empty()) append_texts(record.texts, json.member("texts"));
  json.text("time", rfc3339_ms(record.time_unix_ms));
  json.number_unless_zero("total_us", record.total_us);
  json.text_unless_empty("upstream", record.upstream);
  json.text_unless_empty("upstream_id", record.upstream_id);
  json.number_unless_zero("upstream_status", record.upstream_status);
  {
    JsonText usage(json.member("usage"));
    usage.number_unless_zero("cache_written", record.cache_written_tokens);
    usage.number_unless_zero("cached", record.cached_tokens);
    usage.number("input", record.input_tokens);
    usage.number("output", record.output_tokens);
    usage.number("reasoning", record.reasoning_tokens);
    usage.end();
  }
  json.end();
}

Result<AdmissionRecord> read_admission(std::string_view text) {
  RETORT_ASSIGN(const Json json, parse_json(text, "The admission record"));
  if (!json.is_object()) return caller_error("The admission record is no JSON object.");
  AdmissionRecord record;
  Members members(json, "The admission record");
  members.read("account", record.account);
  members.read("batch", record.batch);
  members.read("conversation", record.conversation);
  members.read("dialect", record.dialect);
  members.read("end_customer", record.end_customer);
  members.read("id", record.id);
  members.read("reserved_nano_usd", record.reserved_nano_usd);
  members.read("in_force", record.in_force);
  members.read("model", record.model);
  members.read_object("network", record.network);
  members.read("organisation", record.organisation);
  members.read("path", record.path);
  members.read("status", record.status);
  members.read("tier", record.tier);
  if (const Json* client = members.object("client")) {
    Members of_client(*client, "The record's client");
    of_client.read("ip", record.client.ip);
    of_client.read("ja4", record.client.ja4);
    of_client.read("user_agent", record.client.user_agent);
    RETORT_TRY(of_client.done());
  }
  if (const Json* decision = members.object("decision")) {
    Members of_decision(*decision, "The record's decision");
    of_decision.read("allowed", record.decision.allowed);
    of_decision.read("reason", record.decision.reason);
    of_decision.read("rule", record.decision.rule);
    of_decision.read("steps", record.decision.steps);
    of_decision.read("withheld", record.decision.withheld);
    RETORT_TRY(of_decision.done());
  }
  RETORT_TRY(read_exposure(members.object("asked"), record.asked));
  RETORT_TRY(read_exposure(members.object("granted"), record.granted));
  RETORT_TRY(read_texts(members.array("texts"), record.texts));
  RETORT_TRY(read_sealed(members.object("sealed"), record.sealed));
  RETORT_TRY(read_time(members, record.time_unix_ms));
  RETORT_TRY(members.done());
  return record;
}

Result<CompletionRecord> read_completion(std::string_view text) {
  RETORT_ASSIGN(const Json json, parse_json(text, "The completion record"));
  if (!json.is_object()) return caller_error("The completion record is no JSON object.");
  CompletionRecord record;
  Members members(json, "The completion record");
  std::string ended;
  members.read("ended", ended);
  for (const auto& [value, name] : kEnded) {
    if (name == ended) record.ended = value;
  }
  members.read_object("facts", record.facts);
  members.read("finish", record.finish);
  members.read("first_byte_us", record.first_byte_us);
  members.read("id", record.id);
  members.read("nano_usd", record.nano_usd);
  members.read("organisation", record.organisation);
  members.read("request_bytes", record.request_bytes);
  members.read("response_bytes", record.response_bytes);
  members.read("status", record.status);
  members.read("total_us", record.total_us);
  members.read("upstream", record.upstream);
  members.read("upstream_id", record.upstream_id);
  members.read("upstream_status", record.upstream_status);
  if (const Json* usage = members.object("usage")) {
    Members of_usage(*usage, "The record's usage");
    of_usage.read("cache_written", record.cache_written_tokens);
    of_usage.read("cached", record.cached_tokens);
    of_usage.read("input", record.input_tokens);
    of_usage.read("output", record.output_tokens);
    of_usage.read("reasoning", record.reasoning_tokens);
    RETORT_TRY(of_usage.done());
  }
  RETORT_TRY(read_texts(members.array("texts"), record.texts));
  RETORT_TRY(read_sealed(members.object("sealed"), record.sealed));
  RETORT_TRY(read_time(members, record.time_unix_ms));
  RETORT_TRY(members.done());
  return record;
}

}  // namespace retort::evidence
