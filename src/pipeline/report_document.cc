#include "pipeline/report_document.h"

#include <utility>

#include "pipeline/report_sections.h"

namespace retort::pipeline {

Json report_document(const RunFacts& facts) {
  Json sections = Json::array();
  const auto add = [&sections](Json section) {
    if (!section["blocks"].empty()) sections.push_back(std::move(section));
  };
  add(verdict_section(facts));
  add(learning_section(facts));
  add(while_training_section(facts));
  add(before_after_section(facts));
  add(size_speed_section(facts));
  add(health_section(facts));
  add(disagreement_section(facts));
  add(answers_section(facts));
  add(funnel_section(facts));
  add(stages_section(facts));
  add(layers_section(facts));
  add(checks_section(facts));
  add(provenance_section(facts));
  add(repeat_section(facts));

  Json document = {{"version", 1},
                   {"title", facts.name},
                   {"subtitle", subtitle(facts)},
                   {"facts", header_facts(facts)},
                   {"sections", std::move(sections)}};
  if (!facts.code_version.empty()) {
    document["footer"] = "Written by Retort " + facts.code_version +
                         ". Every number on this page was measured in this run; intervals are 95 % bootstrap intervals "
                         "over held-out exchanges.";
  }
  return document;
}

}  // namespace retort::pipeline
