// Any bytes as a sealed text, and as a key ring: nothing opens but what was sealed.
#include "fuzz/fuzz.h"
#include "sealing/sealer.h"

namespace sealing = retort::sealing;

namespace {

const std::string& ring_text() {
  static const std::string text = R"({"keys":[{"created":"2026-01-01T00:00:00Z","id":"a","secret":")" +
                                  retort::base64(std::string(32, 's')) + "\"}]}";
  return text;
}

const sealing::Sealer& sealer() {
  static const sealing::Sealer one(sealing::KeyRing::parse(ring_text(), "ring").value());
  return one;
}

const std::string& sealed_text() {
  static const std::string text =
      sealer().seal("blob", {"acme", std::nullopt, "model", retort::Digest(), 1000}).value().text;
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  const sealing::Opened opened = sealer().open(text, {"acme", "model", std::nullopt, 0});
  // Blobs that were sealed in other runs are among the inputs; all hold this.
  RETORT_CHECK(opened.blob == (opened.outcome == sealing::Outcome::kOpened ? "blob" : ""));
  const auto ring = sealing::KeyRing::parse(text, "ring");
  RETORT_CHECK(ring ? !ring->keys().empty() : !ring.error().message.empty());
  return 0;
}

std::vector<std::string> fuzz_seeds() { return {sealed_text(), ring_text()}; }
