#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "report/blocks.h"
#include "report/html.h"

namespace retort::report {

namespace {

// Upper ends of the colours, nats per token: below 0.05 the two are as good as one.
constexpr std::array<double, 6> kSteps = {0.05, 0.2, 0.5, 1.0, 2.0, 4.0};

std::size_t step_of(double kl) {
  return static_cast<std::size_t>(std::upper_bound(kSteps.begin(), kSteps.end(), kl) - kSteps.begin());
}

std::string percent_text(double probability) {
  const double percent = 100 * probability;
  if (percent > 0 && percent < 1) return "<1 %";
  return std::to_string(std::lround(percent)) + " %";
}

// For a tooltip or a table: the token in quotes, its white space visible.
std::string quoted(const Json& token, const char* key) { return "“" + escape_visible(text_of(token, key)) + "”"; }

std::string choice(const Json& token, const char* top, const char* probability) {
  return quoted(token, top) + " " + escape(percent_text(token[probability].get<double>()));
}

std::string token_span(const Json& block, const Json& token) {
  const double kl = token["kl"].get<double>();
  std::string css = "k" + std::to_string(step_of(kl));
  if (!token["agree"].get<bool>()) css += " differs";
  std::string html = "<span class=\"" + css + "\" title=\"" + quoted(token, "text") + "&#10;KL " +
                     escape(number_text(kl)) + " nats&#10;" + html_of(block, "teacher") + ": " +
                     choice(token, "teacher_top", "teacher_top_probability") + "&#10;" + html_of(block, "student") +
                     ": " + choice(token, "student_top", "student_top_probability") + "\">";
  // A line break inside a colour would colour nothing: show the sign, then break.
  const std::string text = text_of(token, "text");
  const bool breaks = text.find('\n') != std::string::npos;
  html += breaks ? "<i>" + escape_visible(text) + "</i>" : escape(text);
  html += "</span>";
  if (breaks) html += "<br>";
  return html;
}

std::string worst_tokens(const Json& block) {
  const Json& tokens = block["tokens"];
  std::vector<std::size_t> order(tokens.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return tokens[a]["kl"].get<double>() > tokens[b]["kl"].get<double>();
  });
  order.resize(std::min<std::size_t>(order.size(), 5));
  if (order.empty()) return {};
  std::string html =
      "<details><summary>Where they differ most</summary><div "
      "class=\"scroll\"><table><thead><tr><th>After</th><th>Written</th>"
      "<th>" +
      html_of(block, "teacher") + " expects</th><th>" + html_of(block, "student") +
      " expects</th><th class=\"num\">KL, nats</th></tr></thead><tbody>";
  for (const std::size_t i : order) {
    std::string before;
    for (std::size_t j = i >= 5 ? i - 5 : 0; j < i; ++j) before += text_of(tokens[j], "text");
    html += "<tr><td>…" + escape_visible(before) + "</td><td>" + quoted(tokens[i], "text") + "</td><td>" +
            choice(tokens[i], "teacher_top", "teacher_top_probability") + "</td><td>" +
            choice(tokens[i], "student_top", "student_top_probability") + "</td><td class=\"num\">" +
            escape(number_text(tokens[i]["kl"].get<double>())) + "</td></tr>";
  }
  return html + "</tbody></table></div></details>";
}

}  // namespace

std::string render_token_diff(const Json& block) {
  std::string html = "<figure class=\"tokens\">";
  if (const std::string title = html_of(block, "title"); !title.empty()) {
    html += "<figcaption><b>" + title + "</b>";
    if (const std::string summary = html_of(block, "summary"); !summary.empty())
      html += " <span>" + summary + "</span>";
    html += "</figcaption>";
  }
  if (const std::string prompt = html_of(block, "prompt"); !prompt.empty()) {
    html += "<p class=\"prompt\" dir=\"auto\">" + prompt + "</p>";
  }
  html += "<p class=\"text\" dir=\"auto\">";
  for (const Json& token : block["tokens"]) html += token_span(block, token);
  html += "</p><p class=\"scale\" aria-hidden=\"true\"><span>agree</span>";
  for (std::size_t step = 0; step <= kSteps.size(); ++step) {
    html += "<span class=\"k" + std::to_string(step) + "\">" +
            (step < kSteps.size() ? "&lt;" + number_text(kSteps[step]) : number_text(kSteps.back()) + "+") + "</span>";
  }
  html += "<span>nats</span><span class=\"k0 differs\">underlined</span><span>another first choice</span></p>";
  return html + worst_tokens(block) + "</figure>";
}

std::string render_side_by_side(const Json& block) {
  std::string html = "<div class=\"answers\">";
  for (const Json& row : block["rows"]) {
    html += "<section><p class=\"prompt\" dir=\"auto\">" + html_of(row, "prompt") + "</p><div class=\"columns\">";
    std::size_t index = 0;
    for (const Json& answer : row["answers"]) {
      const Json column = index < block["columns"].size() ? block["columns"][index] : Json::object();
      html += "<article class=\"" + role_class(column, index) + "\"><h4>" + html_of(column, "name") +
              "</h4><p class=\"text\" dir=\"auto\">" + html_of(answer, "text") + "</p>";
      if (const std::string note = html_of(answer, "note"); !note.empty()) {
        html += "<p class=\"note\">" + note + "</p>";
      }
      html += "</article>";
      ++index;
    }
    html += "</div></section>";
  }
  return html + "</div>";
}

}  // namespace retort::report
