// Writes a folder of evidence as a guard does, for tests of what reads it.
//
//   retort_make_evidence FOLDER EXCHANGES [--killed]    killed: without closing, as after SIGKILL
//
// Exchange i is of account a<i mod 3> and organisation org<i mod 2>, and asks "question <i>"; every fifth is refused.
#include <cstdlib>
#include <iostream>

#include "base/clock.h"
#include "evidence/recorder.h"
#include "evidence/spool.h"

namespace {

namespace evidence = retort::evidence;

retort::Result<void> write(const std::filesystem::path& folder, int count, bool killed) {
  const retort::SystemClock clock;
  evidence::SpoolOptions options;
  options.folder = folder;
  options.segment_bytes = 16U << 10U;
  RETORT_ASSIGN(const auto spool, evidence::Spool::open(options, clock));
  evidence::RecorderOptions recording;
  recording.prompts = evidence::Prompts::kWhole;
  recording.keys_folder = evidence::data_keys_folder(folder);
  RETORT_ASSIGN(recording.master, retort::read_or_make_key(evidence::master_key_path(folder)));
  evidence::Recorder recorder(recording, *spool);
  for (int i = 0; i < count; ++i) {
    const std::string number = std::to_string(i);
    const std::string question = "question " + number;
    evidence::AdmissionRecord admission;
    admission.id = "ex_" + number;
    admission.time_unix_ms = clock.unix_ms();
    admission.account = "a" + std::to_string(i % 3);
    admission.organisation = "org" + std::to_string(i % 2);
    admission.dialect = "openai.chat";
    admission.model = "m";
    admission.client = {"192.0.2.1", "test", ""};
    admission.decision.allowed = i % 5 != 4;
    admission.status = i % 5 == 4 ? 403 : 0;
    const evidence::NamedText text = {"prompt", question};
    const std::string body = R"({"messages":[{"content":")" + question + R"(","role":"user"}],"model":"m"})";
    RETORT_TRY(recorder.admit(admission, body, {&text, 1}));
    if (admission.status != 0) continue;
    evidence::CompletionRecord completion;
    completion.id = admission.id;
    completion.time_unix_ms = clock.unix_ms();
    completion.organisation = admission.organisation;
    completion.status = 200;
    completion.finish = "stop";
    completion.input_tokens = 2;
    completion.output_tokens = 3;
    RETORT_TRY(recorder.complete(completion, {"answer " + number, {}, {}, {}}));
  }
  if (killed) std::_Exit(0);
  return spool->close();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const auto done = write(argv[1], std::atoi(argv[2]), argc > 3);
  if (!done) std::cerr << done.error().message << '\n';
  return done ? 0 : 1;
}
