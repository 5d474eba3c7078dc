#include "guard/handover.h"

#include "base/json.h"

namespace retort::guard {
namespace {

// False: the record was required and could not be written.
bool record_end(GuardState& state, const Admission& admission, std::size_t request_bytes) {
  if (!admission.recorded) return true;
  evidence::CompletionRecord record;
  record.id = admission.id;
  record.time_unix_ms = state.clock.unix_ms();
  record.organisation = admission.organisation;
  record.ended = evidence::Ended::kHandedOver;
  if (admission.upstream != nullptr) record.upstream = admission.upstream->options.name;
  record.nano_usd = admission.reservation.worst();
  record.request_bytes = static_cast<std::int64_t>(request_bytes);
  if (!admission.undecided.empty()) record.facts = canonical_json(Json{{"undecided", admission.undecided}});
  const bool kept = state.recorder->complete(std::move(record), {}).has_value();
  state.evidence_kept(kept);
  return kept || !admission.in_force->rules->options.evidence.required;
}

}  // namespace

Admission hand_over(GuardState& state, Admitter& admitter, const net::HttpRequest& request, Plane plane) {
  const double begun_s = state.clock.monotonic_s();
  Admission admission = admitter.admit(request, plane);
  if (!admission.refused && !record_end(state, admission, request.body.size())) {
    refuse_without_evidence(admission);
    state.metrics.refused(admission.refused_by);
  }
  if (admission.refused) {
    state.metrics.answered(admission.refused->status);
  } else {
    admission.reservation = {};  // dropped, and so settled at its worst case
    state.metrics.handed_over.fetch_add(1, std::memory_order_relaxed);
  }
  state.metrics.admitted_after((state.clock.monotonic_s() - begun_s) * 1e6);
  return admission;
}

bool may_ask(const Rules& rules, const std::string& peer) {
  const auto address = origin::IpAddress::parse(peer);
  return address && rules.trusted_hops.contains(*address);
}

}  // namespace retort::guard
