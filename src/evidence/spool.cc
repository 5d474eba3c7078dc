#include "evidence/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/cryptography.h"
#include "base/files.h"
#include "base/json.h"
#include "base/version.h"
#include "evidence/head.h"
#include "evidence/recovery.h"
#include "evidence/segment.h"

namespace retort::evidence {

namespace fs = std::filesystem;

namespace {

// Kept free under the quota, so that a full spool can still be signed and closed.
constexpr std::uint64_t kReserveBytes = 16U << 10U;
constexpr std::size_t kMostStaged = 1U << 20U;

std::string reason(int error) {
  if (error == ENOSPC || error == EDQUOT) return "the disk is full";
  if (error == EROFS || error == EACCES || error == EPERM) return "it may not be written to";
  return std::strerror(error);
}

// All of `bytes` at `offset`; 0 or the error. What a failure leaves lies behind the spool's end and is written over.
int write_at(int descriptor, std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno;
    if (wrote == 0) return ENOSPC;
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
    offset += static_cast<std::uint64_t>(wrote);
  }
  return 0;
}

void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

struct Spool::State {
  State(SpoolOptions given, const Clock& clock_given, FileLock lock_given, SigningKey key_given)
      : options(std::move(given)), clock(clock_given), lock(std::move(lock_given)), key(std::move(key_given)) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (descriptor >= 0) ::close(descriptor);
    for (const int retired : retired_descriptors) ::close(retired);
    if (head_descriptor >= 0) ::close(head_descriptor);
  }

  const SpoolOptions options;
  std::mutex before_sync_mutex;  // held while it runs; never with `mutex`
  std::function<Result<void>()> before_sync;
  const Clock& clock;
  const FileLock lock;
  const SigningKey key;

  mutable std::mutex mutex;  // everything below
  std::condition_variable wake_syncer;
  std::condition_variable synced_changed;
  ChainHasher hasher;
  // Records that have their place in the chain and aren't written: all of what follows `written`.
  std::string staged;
  struct Place {
    std::uint64_t segment_bytes = 0;
    std::uint64_t all_bytes = 0;
    std::uint64_t sequence = 0;
    Digest chain;
    std::uint64_t signed_sequence = 0;
  } written;  // while something is staged
  std::uint64_t failures = 0;
  std::string last_failure;
  int descriptor = -1;
  std::uint64_t segment = 0;
  std::uint64_t segment_bytes = 0;
  std::uint64_t all_bytes = 0;
  std::uint64_t segments = 0;
  std::uint64_t sequence = 0;  // of the last record
  Digest chain;
  std::uint64_t signed_sequence = 0;  // the last record is a head when equal to sequence
  double unsigned_since_s = 0;        // monotonic; of the oldest unsigned record
  std::string last_head;              // its text
  std::uint64_t synced = 0;
  std::vector<int> retired_descriptors;  // of full segments that aren't flushed yet
  bool folder_changed = false;           // a segment was made: its name must reach the disk too
  bool syncer_idle = false;
  bool sync_asked = false;
  bool closing = false;
  bool closed = false;
  std::string sync_failure;
  std::uint64_t cut_bytes = 0;

  int head_descriptor = -1;  // the syncer's alone
  std::thread syncer;

  std::string sentence(const std::string& what) const {
    return "The evidence spool '" + options.folder.string() + "' " + what;
  }

  // With the mutex held, each.

  Result<void> begin_segment() {
    const fs::path path = segment_path(options.folder, segment + 1);
    const int made = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (made < 0) return world_error(sentence("cannot begin a segment: " + reason(errno) + "."));
    const std::string header = segment_header_bytes({segment + 1, sequence + 1, chain});
    if (const int error = write_at(made, header, 0); error != 0) {
      ::close(made);
      ::unlink(path.c_str());
      return world_error(sentence("cannot begin a segment: " + reason(error) + "."));
    }
    if (descriptor >= 0) retired_descriptors.push_back(descriptor);
    descriptor = made;
    ++segment;
    ++segments;
    segment_bytes = header.size();
    all_bytes += header.size();
    folder_changed = true;
    return {};
  }

  // Gives the record its place; flush_staged() writes it.
  void take(Kind kind, std::string_view text, std::string_view attachment) {
    if (staged.empty()) written = {segment_bytes, all_bytes, sequence, chain, signed_sequence};
    const std::size_t before = staged.size();
    chain = append_record(hasher, chain, kind, sequence + 1, text, attachment, staged);
    if (signed_sequence == sequence) unsigned_since_s = clock.monotonic_s();
    segment_bytes += staged.size() - before;
    all_bytes += staged.size() - before;
    ++sequence;
  }

  // On an error nothing of what was staged is kept, and the chain is where it was before.
  Result<void> flush_staged() {
    if (staged.empty()) return {};
    const int error = write_at(descriptor, staged, written.segment_bytes);
    staged.clear();
    if (staged.capacity() > (1U << 20U)) std::string().swap(staged);
    if (error == 0) return {};
    segment_bytes = written.segment_bytes;
    all_bytes = written.all_bytes;
    sequence = written.sequence;
    chain = written.chain;
    signed_sequence = written.signed_sequence;
    // Readers shall not meet the torn bytes; should this fail too, the next record is written over them.
    static_cast<void>(::ftruncate(descriptor, static_cast<off_t>(segment_bytes)) == 0);
    ++failures;
    last_failure = sentence("cannot be written: " + reason(error) + ".");
    return world_error(last_failure);
  }

  Result<void> write(Kind kind, std::string_view text, std::string_view attachment) {
    RETORT_TRY(flush_staged());
    take(kind, text, attachment);
    return flush_staged();
  }

  Result<void> write_head(bool last = false) {
    RETORT_TRY(flush_staged());
    if (signed_sequence == sequence && !last) return {};
    Head head;
    head.sequence = sequence;
    head.chain = chain;
    head.time = iso_time(clock.unix_ms());
    head.closed = last;
    head.key = key.public_key().id();
    std::string text = signed_head(head, key);
    RETORT_TRY(write(Kind::kHead, text, {}));
    signed_sequence = sequence;
    last_head = std::move(text);
    return {};
  }

  bool head_is_due() const {
    return signed_sequence < sequence &&
           (sequence - signed_sequence >= options.head_every_records ||
            clock.monotonic_s() - unsigned_since_s >= static_cast<double>(options.head_every_ms) / 1000.0);
  }

  Result<void> writable() const {
    if (closed) return world_error(sentence("is closed."));
    if (!sync_failure.empty()) {
      return world_error(
          sentence("takes nothing more, since a flush failed (" + sync_failure + "). Mend the disk and start again."));
    }
    return {};
  }

  // The syncer's work, once: without the mutex while the disk works.
  void sync(std::unique_lock<std::mutex>& held) {
    std::string failure;
    static_cast<void>(flush_staged().has_value());                   // who staged it will be told
    if (head_is_due()) static_cast<void>(write_head().has_value());  // fails unsigned; appends will tell the reason
    const std::uint64_t through = sequence;
    const int current = descriptor;
    const std::vector<int> retired = std::exchange(retired_descriptors, {});
    const bool sync_names = std::exchange(folder_changed, false);
    const std::string head = last_head;
    held.unlock();
    {
      const std::lock_guard running(before_sync_mutex);
      if (before_sync) {
        if (const auto done = before_sync(); !done) failure = done.error().message;
      }
    }
    for (const int full : retired) {
      if (::fdatasync(full) != 0 && failure.empty()) failure = reason(errno);
      ::close(full);
    }
    if (::fdatasync(current) != 0 && failure.empty()) failure = reason(errno);
    if (sync_names) sync_folder(options.folder);
    // Only after the records are on the disk: a head beside the spool must never know more than the spool.
    if (failure.empty() && !head.empty()) keep_head(head);
    held.lock();
    if (failure.empty()) {
      synced = through;
    } else {
      sync_failure = failure;
    }
    synced_changed.notify_all();
    if (failure.empty() && options.on_synced) {
      held.unlock();
      options.on_synced(through);
      held.lock();
    }
  }

  void keep_head(const std::string& head) {
    if (head_descriptor < 0) {
      head_descriptor = ::open((options.folder / "head.json").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
      if (head_descriptor < 0) return;
    }
    const std::string line = head + "\n";
    if (write_at(head_descriptor, line, 0) == 0) {
      static_cast<void>(::ftruncate(head_descriptor, static_cast<off_t>(line.size())) == 0);
    }
  }

  bool has_work() const {
    return sync_asked || (synced < sequence && sync_failure.empty()) || (sync_failure.empty() && head_is_due());
  }

  void run_syncer() {
    std::unique_lock held(mutex);
    const auto pause = std::chrono::milliseconds(options.sync_every_ms);
    while (!closing) {
      if (!has_work()) {
        if (signed_sequence < sequence) {
          wake_syncer.wait_for(held, pause);  // a head will be due
        } else {
          syncer_idle = true;
          wake_syncer.wait(held);
          syncer_idle = false;
        }
        continue;
      }
      // Others may join this flush.
      if (!sync_asked) wake_syncer.wait_for(held, pause, [this] { return sync_asked || closing; });
      if (closing) break;
      sync_asked = false;
      sync(held);
    }
  }
};

Spool::Spool(std::unique_ptr<State> state) : state_(std::move(state)) {}

Spool::~Spool() { static_cast<void>(close().has_value()); }

Result<std::unique_ptr<Spool>> Spool::open(SpoolOptions options, const Clock& clock) {
  const fs::path folder = options.folder;
  RETORT_TRY(make_folder(folder));
  RETORT_ASSIGN(FileLock lock, FileLock::acquire(folder / "lock"));
  if (options.signing_key.empty()) options.signing_key = folder / "signing.pem";
  RETORT_ASSIGN(SigningKey key, SigningKey::read_or_make(options.signing_key));
  if (options.signing_key != folder / "signing.pem" && !is_there(folder / "signing.pem.pub")) {
    RETORT_TRY(write_file(folder / "signing.pem.pub", key.public_key().pem()));
  }
  RETORT_ASSIGN(const Recovered recovered, recover(folder));
  auto state = std::make_unique<State>(std::move(options), clock, std::move(lock), std::move(key));
  state->segment = recovered.segment;
  state->segments = recovered.segments;
  state->segment_bytes = recovered.segment_bytes;
  state->all_bytes = recovered.all_bytes;
  state->sequence = recovered.last_sequence;
  state->chain = recovered.chain;
  state->cut_bytes = recovered.cut_bytes;
  if (recovered.segments == 0) {
    RETORT_TRY(random_bytes(state->chain.bytes));  // so that no two spools share a chain
    RETORT_TRY(state->begin_segment());
  } else {
    state->descriptor = ::open(segment_path(folder, recovered.segment).c_str(), O_RDWR | O_CLOEXEC);
    if (state->descriptor < 0) return world_error(state->sentence("cannot be opened: " + reason(errno) + "."));
  }
  Json note = {{"note", "opened"}, {"time", iso_time(clock.unix_ms())}, {"version", kVersion}};
  if (recovered.cut_bytes > 0) {
    note["cut"] = {{"bytes", recovered.cut_bytes}, {"sha256", recovered.cut_digest}, {"kept", recovered.cut_file}};
  }
  // A head in head.json was on the disk with all before it, so no crash takes that away: the note says what is missing.
  if (is_there(folder / "head.json")) {
    RETORT_ASSIGN(const std::string text, read_file(folder / "head.json"));
    const auto head = read_head(text, state->key.public_key());
    if (head && head->sequence >= recovered.last_sequence) {
      note["lost"] = {{"chain", head->chain.hex()}, {"through", head->sequence + 1}};
    }
  }
  RETORT_TRY(state->write(Kind::kNote, canonical_json(note), {}));
  RETORT_TRY(state->write_head());
  state->sync_asked = true;
  std::unique_ptr<Spool> spool(new Spool(std::move(state)));
  spool->state_->syncer = std::thread([state = spool->state_.get()] { state->run_syncer(); });
  return spool;
}

Result<std::uint64_t> Spool::append(Kind kind, std::string_view text, std::string_view attachment) {
  RETORT_ASSIGN(const Staged staged, stage(kind, text, attachment));
  RETORT_TRY(settle(staged));
  return staged.sequence;
}

Result<Staged> Spool::stage(Kind kind, std::string_view text, std::string_view attachment) {
  if (text.size() > kMaxPartBytes || attachment.size() > kMaxPartBytes) {
    return caller_error("A record of evidence is too large: each part may have " + std::to_string(kMaxPartBytes) +
                        " bytes.");
  }
  State& state = *state_;
  const std::uint64_t size = kFrameBytes + text.size() + attachment.size();
  const std::lock_guard held(state.mutex);
  RETORT_TRY(state.writable());
  if (state.all_bytes + size + kReserveBytes > state.options.quota_bytes) {
    return world_error(state.sentence("is full: its quota of " + std::to_string(state.options.quota_bytes) +
                                      " bytes is reached. Archive the oldest segments elsewhere or raise the quota."));
  }
  if (state.segment_bytes + size > state.options.segment_bytes && state.segment_bytes > kSegmentHeaderBytes) {
    RETORT_TRY(state.flush_staged());
    RETORT_TRY(state.write_head());
    RETORT_TRY(state.begin_segment());
  }
  if (state.staged.size() + size > kMostStaged) RETORT_TRY(state.flush_staged());
  state.take(kind, text, attachment);
  if (state.syncer_idle) {
    state.syncer_idle = false;
    state.wake_syncer.notify_one();
  }
  return Staged{state.sequence, state.failures};
}

Result<void> Spool::settle(const Staged& staged) {
  const std::lock_guard held(state_->mutex);
  // One that failed meanwhile may have been this record's: its number was given to another since.
  if (staged.failures != state_->failures) return world_error(state_->last_failure);
  return state_->flush_staged();
}

std::uint64_t Spool::synced_through() const {
  const std::lock_guard held(state_->mutex);
  return state_->synced;
}

std::uint64_t Spool::last_sequence() const {
  const std::lock_guard held(state_->mutex);
  return state_->sequence;
}

Spool::Usage Spool::usage() const {
  const std::lock_guard held(state_->mutex);
  return {state_->all_bytes, state_->options.quota_bytes, state_->segments, state_->cut_bytes};
}

void Spool::set_before_sync(std::function<Result<void>()> before_sync) {
  const std::lock_guard not_running(state_->before_sync_mutex);
  state_->before_sync = std::move(before_sync);
}

Result<void> Spool::sign_and_sync() {
  std::unique_lock held(state_->mutex);
  RETORT_TRY(state_->writable());
  RETORT_TRY(state_->write_head());
  const std::uint64_t wanted = state_->sequence;
  state_->sync_asked = true;
  state_->wake_syncer.notify_one();
  state_->synced_changed.wait(
      held, [&] { return !state_->sync_failure.empty() || state_->closed || state_->synced >= wanted; });
  return state_->writable();
}

Result<void> Spool::close() {
  {
    const std::lock_guard held(state_->mutex);
    if (state_->closed) return {};
    state_->closing = true;
    state_->wake_syncer.notify_one();
  }
  if (state_->syncer.joinable()) state_->syncer.join();
  std::unique_lock held(state_->mutex);
  Result<void> done = state_->writable();
  if (done) done = state_->write_head(true);
  if (done) {
    state_->sync(held);
    done = state_->writable();
  }
  state_->closed = true;
  state_->synced_changed.notify_all();
  return done;
}

}  // namespace retort::evidence
