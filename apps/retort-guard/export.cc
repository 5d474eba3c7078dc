// `retort-guard export`: evidence as exchanges, a JSON line each, for replay and for other tools.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/files.h"
#include "base/json.h"
#include "evidence/exported.h"
#include "evidence/recorder.h"
#include "frame/verb.h"
#include "retort-guard/evidence_place.h"

namespace retort::app {
namespace {

// A file that only its owner may read, for it may hold prompts; it appears whole or not at all.
class PrivateFile {
 public:
  explicit PrivateFile(std::string path) : path_(std::move(path)), beside_(path_ + ".part") {}
  ~PrivateFile() {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    ::unlink(beside_.c_str());
  }
  PrivateFile(const PrivateFile&) = delete;
  PrivateFile& operator=(const PrivateFile&) = delete;

  Result<void> open() {
    ::unlink(beside_.c_str());
    descriptor_ = ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return descriptor_ < 0 ? failed() : Result<void>();
  }
  Result<void> write(const std::string& line) {
    buffer_ += line;
    buffer_ += '\n';
    return buffer_.size() < (1U << 20U) ? Result<void>() : flush();
  }
  Result<void> commit() {
    RETORT_TRY(flush());
    if (::fsync(descriptor_) != 0 || ::rename(beside_.c_str(), path_.c_str()) != 0) return failed();
    ::close(descriptor_);
    descriptor_ = -1;
    return {};
  }

 private:
  Result<void> failed() const {
    return world_error("'" + path_ + "' cannot be written: " + std::strerror(errno) + ".");
  }
  Result<void> flush() {
    std::string_view rest = buffer_;
    while (!rest.empty()) {
      const ssize_t wrote = ::write(descriptor_, rest.data(), rest.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return failed();
      rest.remove_prefix(static_cast<std::size_t>(wrote));
    }
    buffer_.clear();
    return {};
  }

  std::string path_;
  std::string beside_;
  std::string buffer_;
  int descriptor_ = -1;
};

struct Flags {
  std::string place = "guard.yaml";
  std::string out;
  std::string key;
  bool without_texts = false;
};

Result<void> run(const Flags& flags, Context& context) {
  evidence::ExportOptions options;
  RETORT_ASSIGN(options.folder, evidence_folder(flags.place));
  const std::filesystem::path key =
      flags.key.empty() ? evidence::master_key_path(options.folder) : std::filesystem::path(flags.key);
  options.keys_folder = evidence::data_keys_folder(options.folder);
  if (!flags.without_texts && (!flags.key.empty() || is_there(key))) {
    RETORT_ASSIGN(const std::string text, read_secret_file(key));
    RETORT_ASSIGN(options.master, key_from_base64(text, "'" + key.string() + "'"));
  }
  const bool to_standard_output = flags.out == "-";
  PrivateFile file(flags.out);
  if (!to_standard_output) RETORT_TRY(file.open());
  const auto line = [&](const std::string& text) -> Result<void> {
    if (context.stop.stop_requested()) return interrupted("The export was stopped; nothing was written.");
    if (!to_standard_output) return file.write(text);
    context.out << text << '\n';
    return {};
  };
  RETORT_ASSIGN(const evidence::Exported exported, evidence::export_exchanges(options, line));
  if (!to_standard_output) RETORT_TRY(file.commit());
  if (context.json && !to_standard_output) {
    context.emit({{"exchanges", exported.exchanges},
                  {"unfinished", exported.unfinished},
                  {"unreadable_payloads", exported.unreadable},
                  {"skipped_records", exported.skipped},
                  {"out", flags.out},
                  {"whole", !exported.broken.has_value()}});
  } else if (!to_standard_output) {
    context.out << exported.exchanges << " exchanges in " << flags.out << ", " << exported.unfinished
                << " of them without an end; " << exported.unreadable
                << " texts could not be read: their key was erased, has expired or was not given.\n";
    if (exported.skipped > 0) context.out << exported.skipped << " records of another form were passed over.\n";
  }
  if (exported.broken) {
    return world_error("The export ends where the evidence breaks. " + exported.broken->sentence);
  }
  return {};
}

}  // namespace

void register_export(VerbSetup& verb) {
  const auto flags = std::make_shared<Flags>();
  verb.app.add_option("path", flags->place, "The folder of evidence, or the guard.yaml that names it")
      ->type_name("PATH")
      ->capture_default_str();
  verb.app.add_option("--out", flags->out, "The file to write, a JSON line an exchange; '-': standard output")
      ->type_name("E.jsonl")
      ->required();
  verb.app.add_option("--key", flags->key, "The master key's file (default: master.key in the folder)")
      ->type_name("FILE");
  verb.app.add_flag("--without-texts", flags->without_texts, "Leave out what was kept whole: requests and answers");
  verb.action = [flags](Context& context) { return run(*flags, context); };
}

}  // namespace retort::app
