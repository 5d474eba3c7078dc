// Any bytes as what callers and operators write: API keys, end customers, percentages, traits.
#include "callers/api_key.h"
#include "callers/end_customer.h"
#include "callers/percent.h"
#include "callers/traits.h"
#include "fuzz/fuzz.h"

namespace callers = retort::callers;

namespace {

const callers::AttestationKey& attestation() {
  static const callers::AttestationKey key = [] {
    callers::AttestationKey made;
    made.reseller = "resale";
    made.hmac = std::make_shared<const callers::HmacKey>(callers::HmacKey::from_bytes(retort::sha256("key").bytes));
    return made;
  }();
  return key;
}

std::string signed_header() { return callers::sign_end_customer("cust-7", "resale", *attestation().hmac, 1'000); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  callers::ApiKeyParts parts;
  if (callers::read_api_key(text, parts) == callers::ApiKeyForm::kWell) {
    RETORT_CHECK(parts.id.size() == 12 && parts.secret.size() == 32 && text.starts_with("rg_"));
  }
  if (const auto customer = callers::verify_end_customer(text, attestation(), 1'000)) {
    RETORT_CHECK(*customer == "cust-7");  // nothing else was ever signed
  }
  if (const auto percent = callers::Percent::parse(text)) {
    RETORT_CHECK(callers::Percent::parse(percent->text()) == *percent);
    RETORT_CHECK(*percent <= callers::Percent::whole(100));
  }
  for (const char* kind : {"email", "phone", "domain", "card"}) {
    if (const auto normal = callers::normalised_trait(kind, text)) {
      RETORT_CHECK(callers::normalised_trait(kind, *normal) == *normal);
    }
  }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {callers::make_api_key()->text,
          signed_header(),
          "33.333",
          "100.000000000000",
          "Ada@Example.org",
          "+49 30 1234567",
          "example.org.",
          "4111 1111 1111 1111"};
}
