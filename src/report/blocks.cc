#include "report/blocks.h"

#include "report/html.h"

namespace retort::report {

namespace {

// Text with its blank lines as paragraphs.
std::string paragraphs(const std::string& text, const std::string& css) {
  std::string html;
  std::size_t from = 0;
  while (from < text.size()) {
    std::size_t end = text.find("\n\n", from);
    if (end == std::string::npos) end = text.size();
    html += "<p" + (css.empty() ? std::string() : " class=\"" + css + "\"") + ">" +
            escape(std::string_view(text).substr(from, end - from)) + "</p>";
    from = end + 2;
  }
  return html;
}

std::string render_text(const Json& block) {
  const std::string style = text_of(block, "style");
  return paragraphs(text_of(block, "text"), style == "note" ? "note" : style == "warning" ? "warning" : "");
}

std::string render_verdict(const Json& block) {
  std::string html = "<ol class=\"verdict\">";
  for (const Json& line : block["lines"]) {
    const std::string tone = text_of(line, "tone");
    html += "<li class=\"" + escape(tone) + "\"><span class=\"figure\">" + html_of(line, "figure") +
            "</span><span class=\"words\"><b>" + html_of(line, "headline") + "</b>";
    if (const std::string detail = html_of(line, "detail"); !detail.empty()) html += "<span>" + detail + "</span>";
    html += "</span></li>";
  }
  return html + "</ol>";
}

std::string render_key_values(const Json& block) {
  std::string html = "<dl class=\"pairs\">";
  for (const Json& item : block["items"]) {
    html += "<div><dt>" + html_of(item, "key") + "</dt><dd>" + html_of(item, "value");
    if (const std::string note = html_of(item, "note"); !note.empty()) html += "<small>" + note + "</small>";
    html += "</dd></div>";
  }
  return html + "</dl>";
}

std::string render_cell(const Json& cell) {
  if (cell.is_null()) return "<span class=\"soft\">—</span>";
  if (cell.is_string()) return escape(cell.get<std::string>());
  if (cell.is_number()) return escape(number_text(cell.get<double>()));
  std::string html = html_of(cell, "text");
  const std::string tone = text_of(cell, "tone");
  if (!tone.empty()) html = "<span class=\"" + escape(tone) + "\">" + html + "</span>";
  if (const std::string note = html_of(cell, "note"); !note.empty()) html += "<small>" + note + "</small>";
  return html;
}

std::string render_table(const Json& block) {
  const std::string caption = html_of(block, "caption");
  std::string html = "<figure>";
  if (!caption.empty()) html += "<figcaption>" + caption + "</figcaption>";
  html += "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"" +
          (caption.empty() ? std::string("table") : caption) + "\"><table>";
  html += "<thead><tr>";
  const Json& columns = block["columns"];
  for (const Json& column : columns) {
    html += std::string("<th scope=\"col\"") + (flag_of(column, "numeric") ? " class=\"num\"" : "") + ">" +
            html_of(column, "title");
    if (const std::string note = html_of(column, "note"); !note.empty()) html += "<small>" + note + "</small>";
    html += "</th>";
  }
  html += "</tr></thead><tbody>";
  for (const Json& row : block["rows"]) {
    html += flag_of(row, "emphasis") ? "<tr class=\"emphasis\">" : "<tr>";
    std::size_t index = 0;
    for (const Json& cell : row["cells"]) {
      const bool numeric = index < columns.size() && flag_of(columns[index], "numeric");
      const char* tag = index == 0 ? "th" : "td";
      html += std::string("<") + tag + (index == 0 ? " scope=\"row\"" : "") + (numeric ? " class=\"num\"" : "") + ">" +
              render_cell(cell) + "</" + tag + ">";
      ++index;
    }
    html += "</tr>";
  }
  return html + "</tbody></table></div></figure>";
}

std::string render_code(const Json& block) {
  std::string html = "<figure class=\"code\">";
  if (const std::string caption = html_of(block, "caption"); !caption.empty()) {
    html += "<figcaption>" + caption + "</figcaption>";
  }
  return html + "<pre tabindex=\"0\"><code>" + html_of(block, "text") + "</code></pre></figure>";
}

std::string render_provenance(const Json& block) {
  std::string html = "<dl class=\"provenance\">";
  for (const Json& item : block["items"]) {
    html += "<div><dt>" + html_of(item, "label") + "</dt><dd>" + html_of(item, "value");
    if (const std::string digest = html_of(item, "digest"); !digest.empty()) {
      html += "<code>" + digest + "</code>";
    }
    if (const std::string note = html_of(item, "note"); !note.empty()) html += "<small>" + note + "</small>";
    html += "</dd></div>";
  }
  return html + "</dl>";
}

}  // namespace

std::string role_class(const Json& object, std::size_t index) {
  const std::string role = text_of(object, "role");
  if (role == "teacher") return "c0";
  if (role == "before") return "c1";
  if (role == "student") return "c2";
  if (role == "rival") return "c3";
  if (!role.empty()) return "c4";
  static constexpr const char* kOrder[] = {"c2", "c1", "c3", "c4", "c5", "c0"};
  return kOrder[index % 6];
}

std::string render_block(const Json& block, Ids& ids) {
  const std::string type = text_of(block, "type");
  if (type == "text") return render_text(block);
  if (type == "verdict") return render_verdict(block);
  if (type == "key_values") return render_key_values(block);
  if (type == "table") return render_table(block);
  if (type == "line_chart") return render_line_chart(block, ids);
  if (type == "bar_chart") return render_bar_chart(block, ids);
  if (type == "funnel") return render_funnel(block);
  if (type == "token_diff") return render_token_diff(block);
  if (type == "side_by_side") return render_side_by_side(block);
  if (type == "code") return render_code(block);
  if (type == "timeline") return render_timeline(block);
  RETORT_CHECK(type == "provenance");
  return render_provenance(block);
}

}  // namespace retort::report
