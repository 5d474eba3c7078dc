// A summary in the place of reasoning that a tier may not read: written by a model that the operator names.
//
// The summary is asked for once the answer is whole, so it comes before the end of a chat's stream and in its usual
// place of a whole answer; streams of the other dialects, whose reasoning has its place at the beginning, go without.
// Where no summary can be had in time the answer goes without as well: it is never held back for it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/route.h"
#include "net/upstream.h"

namespace retort::guard {

// The chat request that asks `model` for it.
std::string summary_request(std::string_view model, std::string_view reasoning);

// A whole JSON answer with the summary where its reasoning was; as it was where it has no such place. Pure.
std::string with_summary(api::Operation operation, const std::string& answer, const std::string& summary);

// The event of a chat's stream that carries it.
std::string summary_event(std::string_view model, const std::string& summary);

// Hears the summariser's answer, and tells it once: nothing when it can't be had.
class SummaryListener final : public net::UpstreamListener {
 public:
  using Told = std::function<void(const std::optional<std::string>& summary)>;
  explicit SummaryListener(Told told) : told_(std::move(told)) {}

  void on_head(net::HttpResponse head) override { status_ = head.status; }
  void on_body(std::string_view piece) override;
  void on_end() override;
  void on_trouble(net::Trouble, const std::string&) override { tell(std::nullopt); }
  // The time is over.
  void give_up() { tell(std::nullopt); }

 private:
  void tell(const std::optional<std::string>& summary);
  Told told_;
  int status_ = 0;
  std::string body_;
};

}  // namespace retort::guard
