#include "exchange/engine.h"

#include <utility>

namespace retort {
namespace {

class List final : public GenerationJob {
 public:
  List(std::vector<TokenRequest> requests, const std::function<void(std::size_t)>& progress)
      : completions(requests.size()), requests_(std::move(requests)), progress_(progress) {}

  std::optional<TokenRequest> next() override {
    if (given_ == requests_.size()) return std::nullopt;
    requests_[given_].tag = given_;
    return std::move(requests_[given_++]);
  }
  Result<void> finished(std::uint64_t tag, TokenCompletion completion) override {
    completions.at(tag) = std::move(completion);
    ++done;
    if (progress_) progress_(done);
    return {};
  }
  std::vector<TokenCompletion> completions;
  std::size_t done = 0;

 private:
  std::vector<TokenRequest> requests_;
  const std::function<void(std::size_t)>& progress_;
  std::size_t given_ = 0;
};

}  // namespace

Result<std::vector<TokenCompletion>> generate_all(TokenGenerator& generator, std::vector<TokenRequest> requests,
                                                  std::stop_token stop,
                                                  const std::function<void(std::size_t done)>& progress) {
  const std::size_t count = requests.size();
  List job(std::move(requests), progress);
  RETORT_TRY(generator.generate(job, std::move(stop)));
  RETORT_CHECK(job.done == count);
  return std::move(job.completions);
}

}  // namespace retort
