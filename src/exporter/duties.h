// What the teacher's terms ask of a student that is shipped, carried out where a program can: its name, the notice
// files of the bundle, the lines of its card. The rest is named, for a person to do.
//
// Plain values and pure functions; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "terms/terms.h"

namespace retort::exporter {

struct Lineage;

enum class DutyState { kDone, kLeft };
std::string_view name_of(DutyState state);  // "done", "left_to_a_person"

struct CarriedDuty {
  terms::ObligationKind kind = terms::ObligationKind::kNotice;
  DutyState state = DutyState::kDone;
  std::string sentence;  // what was done, or is to be done
};
Json to_json(const std::vector<CarriedDuty>& duties);
// What to_json() wrote; empty where it isn't that.
std::vector<CarriedDuty> duties_from_json(const Json& json);
// "2 obligations done, 1 left to a person"; empty: there are none.
std::string duties_text(const std::vector<CarriedDuty>& duties);

// The student's name, beginning as the terms ask: "toy" becomes "Llama-toy". `decision`: terms::to_json().
std::string shipped_name(const Json& decision, const std::string& name);
// That name as a file's: no spaces.
std::string file_stem(const std::string& shipped_name);

// Each obligation of `decision` as what was done and what is left, for a student of that shipped name.
std::vector<CarriedDuty> carry_out(const Json& decision, const std::string& shipped_name);

// Lines for the top of the model card: "Built with Llama".
std::vector<std::string> display_lines(const Json& decision);

struct NoticeFile {
  std::string name;  // "NOTICE"
  std::string text;
};
// The notice files of a bundle: NOTICE, which says what must be kept and which texts must be added by hand, and the
// licences whose text this program holds. Empty: nothing is asked.
std::vector<NoticeFile> notice_files(const Lineage& lineage);

}  // namespace retort::exporter
