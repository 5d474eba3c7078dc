// `retort-guard verify`: does the record of evidence hold, from its first record to its last signed head?
#include "evidence/verify.h"

#include "base/json.h"
#include "frame/verb.h"
#include "retort-guard/evidence_place.h"

namespace retort::app {
namespace {

Result<void> verify(const std::string& place, const std::string& key, const std::string& head, Context& context) {
  evidence::VerifyOptions options;
  RETORT_ASSIGN(options.folder, evidence_folder(place));
  options.public_key = key;
  if (!head.empty()) {
    const auto digest = Digest::from_hex(head);
    if (!digest) return caller_error("--head: " + digest.error().message);
    options.known_head = *digest;
  }
  RETORT_ASSIGN(const evidence::VerifyReport report, evidence::verify(options));
  if (context.json) {
    context.emit(evidence::to_json(report));
  } else {
    for (const std::string& line : evidence::lines_of(report)) context.out << line << '\n';
    if (key.empty()) {
      context.out
          << "The public key is the folder's own: who could replace the folder could replace it too. Keep a copy "
             "elsewhere, and give it by --key.\n";
    }
  }
  if (!report.holds) return world_error("The evidence in '" + options.folder.string() + "' does not hold.");
  return {};
}

}  // namespace

void register_verify(VerbSetup& verb) {
  struct Flags {
    std::string place, key, head;
  };
  const auto flags = std::make_shared<Flags>();
  verb.app.add_option("path", flags->place, "The folder of evidence, or the guard.yaml that names it")
      ->type_name("PATH")
      ->required();
  verb.app
      .add_option("--key", flags->key, "The public key to check signatures by (default: signing.pem.pub in the folder)")
      ->type_name("PEM");
  verb.app
      .add_option("--head", flags->head,
                  "A head that was noted earlier: shows that nothing up to it was cut off or written anew")
      ->type_name("HEX");
  verb.action = [flags](Context& context) { return verify(flags->place, flags->key, flags->head, context); };
}

}  // namespace retort::app
