#include "exporter/duties.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/text.h"
#include "exporter/apache_licence.h"
#include "exporter/bundle_files.h"
#include "exporter/lineage.h"
#include "exporter/mit_licence.h"
#include "terms/facts.h"

namespace retort::exporter {
namespace {

using terms::Obligation;
using terms::ObligationKind;

constexpr std::string_view kApache = "apache-2.0";
constexpr std::string_view kMit = "mit";

std::string kind_text(ObligationKind kind) {
  std::string text(terms::name_of(kind));
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

// "the Llama 3.1 Community License (meta-llama/…)".
std::string title_of(const std::string& origin) {
  const terms::Text* text = terms::find_text(origin);
  if (text == nullptr) return "the terms '" + origin + "'";
  return "the " + std::string(text->name) + " (" + std::string(text->source) + ")";
}

bool begins_with(const std::string& name, const std::string& prefix) {
  return name.size() >= prefix.size() && to_lower_ascii(name.substr(0, prefix.size())) == to_lower_ascii(prefix);
}

std::string with_condition(const Obligation& obligation) {
  return obligation.value + (obligation.when.empty() ? "" : " (When " + obligation.when + ".)");
}

// The longest prefix that is asked for; empty: none.
std::string asked_prefix(const std::vector<Obligation>& obligations) {
  std::string prefix;
  for (const Obligation& one : obligations) {
    if (one.kind == ObligationKind::kNamePrefix && one.value.size() > prefix.size()) prefix = one.value;
  }
  return prefix;
}

// A text to keep that this program doesn't hold.
bool is_to_be_added(const Obligation& obligation) {
  return (obligation.kind == ObligationKind::kNotice || obligation.kind == ObligationKind::kPassThrough) &&
         obligation.origin != kApache && obligation.origin != kMit && terms::find_text(obligation.origin) != nullptr;
}

// Where whoever adds that text puts it, beside the notice.
std::string file_to_add(const std::string& origin) { return "LICENSE-" + origin; }

// The makers of the model that this licence is of; their copyright line isn't in a model's file.
std::string mit_text(const Lineage& lineage) {
  const auto& origin = lineage.origin();
  return "MIT License\n\nCopyright (c) the makers of " + origin.name +
         (origin.repository.empty() ? "" : " (" + origin.repository + ")") +
         "\n[To be replaced by the copyright line of that model's own LICENSE file before this is passed on.]\n\n" +
         std::string(kMitLicence);
}

bool asks(const std::vector<Obligation>& obligations, std::string_view origin) {
  return std::any_of(obligations.begin(), obligations.end(),
                     [&](const Obligation& one) { return one.origin == origin; });
}

std::string notice_text(const Lineage& lineage, const std::vector<Obligation>& obligations) {
  std::string text = lineage.name + "\n\nThis model was made with Retort " + lineage.code_version + " from " +
                     lineage.origin().name +
                     (lineage.origin().repository.empty() ? "" : " (" + lineage.origin().repository + ")") +
                     (lineage.base ? ", on answers of " + lineage.teacher.name : "") +
                     ". Its files are not those of that model: they were changed by distillation; README.md and "
                     "lineage.json say how.\n\nWhat is asked of whoever passes it on. In our own words, as far as they "
                     "were read; not legal advice.\n\n";
  for (const Obligation& one : obligations) {
    text += "- " + kind_text(one.kind) + ", by " +
            (terms::find_text(one.origin) == nullptr ? one.origin : title_of(one.origin)) + ":\n  " +
            with_condition(one) + "\n";
  }
  std::string said;
  for (const Json* terms : {&lineage.terms, &lineage.base_terms}) {
    const auto clauses = terms->is_object() ? terms->find("clauses") : terms->end();
    if (clauses == terms->end() || !clauses->is_array()) continue;
    for (const Json& clause : *clauses) {
      if (!clause.is_object()) continue;
      said += "- " + clause.value("quote", "") + "\n  " + clause.value("source", "") + ", " + clause.value("date", "") +
              "\n";
    }
  }
  if (!said.empty()) text += "\nWhat the terms say, in short:\n\n" + said;
  std::set<std::string> missing;
  for (const Obligation& one : obligations) {
    if (is_to_be_added(one)) missing.insert(one.origin);
  }
  if (!missing.empty()) {
    text += "\nTexts that this bundle lacks, to be added by hand before it is passed on:\n\n";
    for (const std::string& origin : missing) {
      text +=
          "- " + file_to_add(origin) + ", beside this file: the full text and notices of " + title_of(origin) + "\n";
    }
  }
  return text;
}

}  // namespace

std::string_view name_of(DutyState state) { return state == DutyState::kDone ? "done" : "left_to_a_person"; }

Json to_json(const std::vector<CarriedDuty>& duties) {
  Json list = Json::array();
  for (const CarriedDuty& duty : duties) {
    list.push_back({{"kind", terms::name_of(duty.kind)}, {"state", name_of(duty.state)}, {"sentence", duty.sentence}});
  }
  return list;
}

std::vector<CarriedDuty> duties_from_json(const Json& json) {
  std::vector<CarriedDuty> duties;
  if (!json.is_array()) return duties;
  constexpr std::array kKinds = {ObligationKind::kNamePrefix, ObligationKind::kNotice, ObligationKind::kDisplay,
                                 ObligationKind::kPassThrough, ObligationKind::kMauLimit};
  for (const Json& item : json) {
    if (!item.is_object()) continue;
    CarriedDuty duty;
    for (const ObligationKind kind : kKinds) {
      if (item.value("kind", Json()) == Json(terms::name_of(kind))) duty.kind = kind;
    }
    if (item.value("state", Json()) != Json(name_of(DutyState::kDone))) duty.state = DutyState::kLeft;
    if (const auto sentence = item.find("sentence"); sentence != item.end() && sentence->is_string()) {
      duty.sentence = sentence->get<std::string>();
    }
    duties.push_back(std::move(duty));
  }
  return duties;
}

std::string duties_text(const std::vector<CarriedDuty>& duties) {
  if (duties.empty()) return {};
  const auto done = std::count_if(duties.begin(), duties.end(),
                                  [](const CarriedDuty& duty) { return duty.state == DutyState::kDone; });
  return "of what the terms ask, " + std::to_string(done) + " done, " +
         std::to_string(static_cast<std::ptrdiff_t>(duties.size()) - done) + " left to a person";
}

std::string shipped_name(const Json& decision, const std::string& name) {
  const std::string prefix = asked_prefix(terms::obligations_from_json(decision));
  if (prefix.empty()) return name;
  // "Llama 3" may stand as "Llama-3" already, as file names have it.
  std::string dashed = prefix;
  std::replace(dashed.begin(), dashed.end(), ' ', '-');
  for (const std::string& there : {prefix, dashed}) {
    if (begins_with(name, there)) return prefix + name.substr(there.size());
  }
  return prefix + (prefix.find(' ') == std::string::npos ? "-" : " ") + name;
}

std::string file_stem(const std::string& shipped_name) {
  std::string stem = shipped_name;
  std::replace(stem.begin(), stem.end(), ' ', '-');
  return stem;
}

std::vector<CarriedDuty> carry_out(const Json& decision, const std::string& shipped_name) {
  const std::vector<Obligation> obligations = terms::obligations_from_json(decision);
  std::vector<CarriedDuty> duties;
  const auto add = [&](const Obligation& one, DutyState state, std::string sentence) {
    duties.push_back({one.kind, state, std::move(sentence)});
  };
  for (const Obligation& one : obligations) {
    switch (one.kind) {
      case ObligationKind::kNamePrefix:
        if (begins_with(shipped_name, one.value)) {
          add(one, DutyState::kDone, "The model is called '" + shipped_name + "'.");
        } else {
          add(one, DutyState::kLeft,
              "The name must start with '" + one.value + "', and another text asks for '" + asked_prefix(obligations) +
                  "': choose one that fits both, or ask.");
        }
        break;
      case ObligationKind::kNotice:
        if (one.origin == kApache) {
          add(one, DutyState::kDone,
              std::string(kApacheFile) + " and " + kNoticeFile + " go with it; the latter" +
                  " says that the files were changed.");
          add(one, DutyState::kLeft,
              "If the teacher's own repository has a NOTICE file or notices of its makers, add them.");
        } else if (one.origin == kMit) {
          add(one, DutyState::kDone,
              std::string(kMitFile) + ", with the permission notice, and " + kNoticeFile + " go with it.");
          add(one, DutyState::kLeft,
              "Put the copyright line of the teacher's own LICENSE file into " + std::string(kMitFile) + ".");
        } else {
          add(one, DutyState::kDone, std::string(kNoticeFile) + " says what is asked: " + with_condition(one));
          if (is_to_be_added(one)) {
            add(one, DutyState::kLeft,
                "The text of " + title_of(one.origin) + " isn't in this program: put it and its notices into " +
                    file_to_add(one.origin) + " beside " + kNoticeFile + ".");
          }
        }
        break;
      case ObligationKind::kDisplay:
        add(one, DutyState::kDone, "The model card shows '" + one.value + "'.");
        add(one, DutyState::kLeft, "Show '" + one.value + "'" + (one.when.empty() ? "" : " when " + one.when) + ".");
        break;
      case ObligationKind::kPassThrough:
        add(one, DutyState::kDone,
            "The model card and " + std::string(kNoticeFile) + " state it: " + with_condition(one));
        add(one, DutyState::kLeft,
            "Make it part of the terms under which you pass the student on, and put the text of " +
                title_of(one.origin) + " into " + file_to_add(one.origin) + " beside " + kNoticeFile + ".");
        break;
      case ObligationKind::kMauLimit:
        add(one, DutyState::kLeft,
            "Ask the licensor before the product has more than " + human_count(std::atoll(one.value.c_str())) +
                " monthly users.");
        break;
    }
  }
  return duties;
}

std::vector<std::string> display_lines(const Json& decision) {
  std::vector<std::string> lines;
  for (const Obligation& one : terms::obligations_from_json(decision)) {
    if (one.kind != ObligationKind::kDisplay) continue;
    if (std::find(lines.begin(), lines.end(), one.value) == lines.end()) lines.push_back(one.value);
  }
  return lines;
}

std::vector<NoticeFile> notice_files(const Lineage& lineage) {
  const std::vector<Obligation> obligations = lineage.obligations();
  std::vector<NoticeFile> files;
  if (obligations.empty()) return files;
  files.push_back({kNoticeFile, notice_text(lineage, obligations)});
  if (asks(obligations, kApache)) files.push_back({kApacheFile, std::string(kApacheLicence)});
  if (asks(obligations, kMit)) files.push_back({kMitFile, mit_text(lineage)});
  return files;
}

}  // namespace retort::exporter
