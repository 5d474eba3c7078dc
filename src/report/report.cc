#include "report/report.h"

#include "base/json.h"
#include "report/blocks.h"
#include "report/grammar.h"
#include "report/html.h"
#include "report/style.h"

namespace retort::report {

namespace {

std::string head(const Json& document) {
  // No source but the page itself: whatever got into it could load nothing and run nothing.
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
         "img-src data:; base-uri 'none'; form-action 'none'\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>" +
         html_of(document, "title") + "</title>\n<style>" + std::string(kStyle) + "</style>\n</head>\n";
}

std::string page_header(const Json& document) {
  std::string html = "<header><div class=\"brand\">" + std::string(kEmblem) + "<span>Retort</span></div><h1>" +
                     html_of(document, "title") + "</h1>";
  if (const std::string subtitle = html_of(document, "subtitle"); !subtitle.empty()) {
    html += "<p class=\"subtitle\">" + subtitle + "</p>";
  }
  if (const auto facts = document.find("facts"); facts != document.end() && !facts->empty()) {
    html += "<ul class=\"facts\">";
    for (const Json& fact : *facts) html += "<li>" + escape(fact.get<std::string>()) + "</li>";
    html += "</ul>";
  }
  std::string links;
  std::size_t number = 0;
  for (const Json& section : document["sections"]) {
    ++number;
    const std::string title = html_of(section, "title");
    if (!title.empty()) links += "<a href=\"#s" + std::to_string(number) + "\">" + title + "</a>";
  }
  if (!links.empty()) html += "<nav aria-label=\"Sections\">" + links + "</nav>";
  return html + "</header>\n";
}

}  // namespace

Result<std::string> render_html(const Json& document) {
  RETORT_TRY(check_document(document));
  Ids ids;
  std::string html = head(document) + "<body>\n" + page_header(document) + "<main>\n";
  std::size_t number = 0;
  for (const Json& section : document["sections"]) {
    ++number;
    html += "<section id=\"s" + std::to_string(number) + "\">";
    if (const std::string title = html_of(section, "title"); !title.empty()) html += "<h2>" + title + "</h2>";
    if (const std::string lead = html_of(section, "lead"); !lead.empty()) html += "<p class=\"lead\">" + lead + "</p>";
    for (const Json& block : section["blocks"]) html += "\n" + render_block(block, ids);
    html += "\n</section>\n";
  }
  html += "</main>\n";
  if (const std::string footer = html_of(document, "footer"); !footer.empty()) {
    html += "<footer><p>" + footer + "</p></footer>\n";
  }
  return html + "</body>\n</html>\n";
}

}  // namespace retort::report
