#include "guard/batch_look.h"

#include <algorithm>

#include "api/multipart.h"
#include "policy/decide.h"

namespace retort::guard {
namespace {

constexpr const char* kPurpose = "batch";

class Judge {
 public:
  Judge(const BatchTerms& terms, api::Family family) : terms_(terms), family_(family), policy_(terms.policy) {
    policy_.tier.expose.excess = "refuse";
    look_.worst = 0;
    look_.prices.emplace();
  }

  Result<std::optional<std::string>> judge(const api::BatchRequest& request) {
    const std::string name = api::name_of(request, family_) + ": ";
    auto facts = terms_.reader.read(request.operation, request.body);
    if (!facts) return refuse({400, "invalid_request", "request", name + facts.error().message});
    const api::Route route{family_, request.operation, {}};
    const policy::Decision decision = policy::decide(policy_, route, &*facts);
    if (!decision.allowed) return refuse({decision.status, decision.code, decision.rule, name + decision.sentence});
    count(request.operation, *facts, decision);
    for (const std::string& what : decision.withheld) add_withheld(what);
    std::string body(request.body);
    if (terms_.fate && facts->blobs) {
      auto opened = api::rewrite_blobs(request.operation, body, [&](std::string_view blob, const Digest& prefix) {
        api::BlobFate fate = terms_.fate(facts->model, blob, prefix);
        if (fate.kind == api::BlobFate::Kind::kDrop) add_withheld("reasoning_blobs");
        return fate;
      });
      if (!opened) return refuse({400, "invalid_reasoning", terms_.rule(), name + opened.error().message});
      body = std::move(*opened);
    }
    body = policy::edited_body(request.operation, body, *facts, decision, false);
    if (body == request.body) return std::optional<std::string>();
    return std::optional(std::move(body));
  }

  // What ended the reading: a refusal of its own, or what can't be read.
  BatchRefusal refusal(const Error& error) const {
    return refusal_ ? *refusal_ : BatchRefusal{400, "invalid_request", "request", error.message};
  }
  BatchLook look() { return std::move(look_); }

 private:
  Failure refuse(BatchRefusal refusal) {
    refusal_ = std::move(refusal);
    return caller_error(refusal_->sentence);
  }

  void count(api::Operation operation, const api::RequestFacts& facts, const policy::Decision& decision) {
    const policy::Price* found = terms_.rules.price_of(facts.model);
    if (found == nullptr) {
      look_.worst.reset();
      look_.prices.reset();
      return;
    }
    const policy::Price price = policy::batch_price(*found);
    if (look_.prices) look_.prices = policy::dearest(*look_.prices, policy::token_prices(price));
    const auto worst = policy::worst_case(price, operation, facts, decision);
    if (!worst) {
      look_.worst.reset();
    } else if (look_.worst) {
      *look_.worst += *worst;
    }
  }

  void add_withheld(const std::string& what) {
    auto& withheld = look_.withheld;
    if (std::find(withheld.begin(), withheld.end(), what) == withheld.end()) withheld.push_back(what);
  }

  const BatchTerms& terms_;
  const api::Family family_;
  policy::EffectivePolicy policy_;
  BatchLook look_;
  std::optional<BatchRefusal> refusal_;
};

tl::unexpected<BatchRefusal> unreadable(std::string sentence) {
  return tl::unexpected(BatchRefusal{400, "invalid_request", "request", std::move(sentence)});
}

}  // namespace

BatchJudged<std::optional<BatchLook>> look_into_upload(std::string_view content_type, std::string_view form,
                                                       const BatchTerms& terms) {
  const auto parts = api::read_form(content_type, form);
  if (!parts) return unreadable(parts.error().message);
  const auto part = [&](std::string_view name) {
    return std::find_if(parts->begin(), parts->end(), [&](const api::FormPart& one) { return one.name == name; });
  };
  const auto purpose = part("purpose");
  const auto file = part("file");
  if (purpose == parts->end() || purpose->file || file == parts->end()) {
    return unreadable("An upload needs the parts \"purpose\" (a text) and \"file\".");
  }
  if (purpose->content != kPurpose) return std::optional<BatchLook>();
  Judge judge(terms, api::Family::kOpenAi);
  auto read = api::read_batch_file(file->content, [&](const api::BatchRequest& one) { return judge.judge(one); });
  if (!read) return tl::unexpected(judge.refusal(read.error()));
  BatchLook look = judge.look();
  look.path = std::move(read->path);
  look.requests = read->requests;
  if (!read->changed.empty()) {
    const auto before = static_cast<std::size_t>(file->content.data() - form.data());
    look.body.reserve(form.size() - file->content.size() + read->changed.size());
    look.body += form.substr(0, before);
    look.body += read->changed;
    look.body += form.substr(before + file->content.size());
  }
  return std::optional(std::move(look));
}

BatchJudged<BatchLook> look_into_list(std::string_view body, const BatchTerms& terms) {
  Judge judge(terms, api::Family::kAnthropic);
  auto read = api::read_batch_list(body, [&](const api::BatchRequest& one) { return judge.judge(one); });
  if (!read) return tl::unexpected(judge.refusal(read.error()));
  BatchLook look = judge.look();
  look.requests = read->requests;
  look.body = std::move(read->changed);
  return look;
}

}  // namespace retort::guard
