// The turns of a request's conversation in a form that honest clients don't change, and its digest. Not for other
// modules.
//
// Pure; a tree's reader must not read on while it is walked.
#pragma once

#include <string>
#include <string_view>

#include "api/json_dom.h"
#include "api/route.h"
#include "base/digest.h"

namespace retort::api {

// Whose conversation a body has: the operation itself, or for count_tokens the one whose request is counted. kNone
// where there is none.
Operation conversation_of(Operation operation, Element root);

// The member that holds a conversation's turns: "messages" or "input".
std::string_view turns_key(Operation conversation);

// The digest grows turn by turn; prefix() is that of all turns up to the last one of the client's own.
class ConversationDigest {
 public:
  explicit ConversationDigest(Operation operation);
  void add(Element turn);
  // A whole input given as one string: the user's only turn.
  void add_text(std::string_view text);
  const Digest& prefix() const { return prefix_; }

 private:
  void close_own();

  Operation operation_;
  Digest prefix_;
  std::string pending_;  // canonical bytes of the turns since prefix_
};

}  // namespace retort::api
