#include <algorithm>
#include <cmath>
#include <vector>

#include "base/text.h"
#include "report/blocks.h"
#include "report/html.h"
#include "report/scale.h"

namespace retort::report {

namespace {

struct Bar {
  std::string label, text, css, group;
  double value = 0, low = 0, high = 0;
  bool interval = false;
  bool hollow = false;
};

std::vector<Bar> read_bars(const Json& block) {
  std::vector<Bar> bars;
  std::size_t index = 0;
  for (const Json& entry : block["bars"]) {
    Bar bar;
    bar.label = text_of(entry, "label");
    bar.css = role_class(entry, index++);
    bar.group = text_of(entry, "group");
    bar.value = entry["value"].get<double>();
    bar.low = number_of(entry, "low", bar.value);
    bar.high = number_of(entry, "high", bar.value);
    bar.interval = bar.high > bar.low;
    bar.hollow = flag_of(entry, "hollow");
    bar.text = text_of(entry, "text");
    if (bar.text.empty()) {
      bar.text = number_text(bar.value);
      if (bar.interval) bar.text += " (" + number_text(bar.low) + "–" + number_text(bar.high) + ")";
    }
    bars.push_back(std::move(bar));
  }
  return bars;
}

// Characters of UTF-8, for widths.
double width_of(const std::string& text, double per_character) {
  const auto characters =
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
  return per_character * static_cast<double>(characters);
}

std::string draw_bars(const Json& block, const std::vector<Bar>& bars, bool wide, Ids& ids) {
  double highest = 0;
  double lowest = 0;
  double label_width = 0;
  double text_width = 0;
  for (const Bar& bar : bars) {
    highest = std::max({highest, bar.value, bar.high});
    lowest = std::min({lowest, bar.value, bar.low});
    label_width = std::max(label_width, width_of(bar.label, 7.1));
    text_width = std::max(text_width, width_of(bar.text, 6.9));
  }
  const Scale scale = Scale::fit(lowest, highest, false, true, wide ? 6 : 4);
  // Many bars are drawn thin; short labels then stand beside them on a phone too.
  const bool dense = bars.size() > 14;
  const bool beside = wide || (dense && label_width < 90);
  const double width = wide ? 760 : 360;
  const double left = beside ? std::min(label_width, 250.0) + 12 : 2;
  const double right = beside ? std::min(text_width, 190.0) + 12 : 10;
  const double plot = width - left - right;
  const double row = beside ? (dense ? 19 : 30) : 46;
  const double thick = dense && beside ? 9 : 14;

  // Rows, with room for the name of a group before its first.
  double y = 4;
  std::string body;
  std::string group;
  for (const Bar& bar : bars) {
    if (bar.group != group) {
      group = bar.group;
      y += y > 10 ? 12 : 4;
      body += "<text x=\"2\" y=\"" + coordinate(y + 10) + "\" class=\"group\">" + escape(group) + "</text>";
      y += 18;
    }
    const double bar_y = beside ? y + (row - thick) / 2 : y + 20;
    const double zero = left + scale.share(0) * plot;
    const double end = left + scale.share(bar.value) * plot;
    body += "<g class=\"" + bar.css + (bar.hollow ? " hollow" : "") + "\"><title>" + escape(bar.label) + ": " +
            escape(bar.text) + "</title>";
    if (beside) {
      body += "<text x=\"" + coordinate(left - 10) + "\" y=\"" + coordinate(bar_y + thick / 2 + 4) +
              "\" class=\"bar-label\" text-anchor=\"end\">" + escape(bar.label) + "</text>";
    } else {
      body += "<text x=\"2\" y=\"" + coordinate(y + 13) + "\" class=\"bar-label\">" + escape(bar.label) + "</text>";
      body += "<text x=\"" + coordinate(width - 4) + "\" y=\"" + coordinate(y + 13) +
              "\" class=\"bar-value\" text-anchor=\"end\">" + escape(bar.text) + "</text>";
    }
    body += "<rect x=\"" + coordinate(std::min(zero, end)) + "\" y=\"" + coordinate(bar_y) + "\" width=\"" +
            coordinate(std::max(1.0, std::abs(end - zero))) + "\" height=\"" + coordinate(thick) +
            "\" rx=\"2\" class=\"bar\"/>";
    double text_from = end;
    if (bar.interval) {
      const double a = left + scale.share(bar.low) * plot;
      const double b = left + scale.share(bar.high) * plot;
      const double middle = bar_y + thick / 2;
      body += "<path class=\"whisker\" d=\"M" + coordinate(a) + " " + coordinate(middle) + "H" + coordinate(b) + "M" +
              coordinate(a) + " " + coordinate(middle - 4) + "v8M" + coordinate(b) + " " + coordinate(middle - 4) +
              "v8\"/>";
      text_from = std::max(end, b);
    }
    if (beside) {
      body += "<text x=\"" + coordinate(text_from + 8) + "\" y=\"" + coordinate(bar_y + thick / 2 + 4) +
              "\" class=\"bar-value\">" + escape(bar.text) + "</text>";
    }
    body += "</g>";
    y += row;
  }
  const double bottom = y + 4;
  std::string grid;
  for (const Tick& tick : scale.ticks()) {
    const double at = left + scale.share(tick.value) * plot;
    grid += "<line x1=\"" + coordinate(at) + "\" y1=\"2\" x2=\"" + coordinate(at) + "\" y2=\"" + coordinate(bottom) +
            "\" class=\"grid\"/><text x=\"" + coordinate(at) + "\" y=\"" + coordinate(bottom + 15) +
            "\" class=\"tick\" text-anchor=\"middle\">" + escape(tick.label) + "</text>";
  }
  double height = bottom + 20;
  const std::string axis = text_of(block, "axis_label");
  if (!axis.empty()) {
    height += 18;
    grid += "<text x=\"" + coordinate(left + plot / 2) + "\" y=\"" + coordinate(height - 4) +
            "\" class=\"label\" text-anchor=\"middle\">" + escape(axis) + "</text>";
  }
  const std::string title_id = ids.next("t");
  const std::string description_id = ids.next("d");
  std::string svg = "<svg class=\"plot " + std::string(wide ? "wide" : "narrow") + "\" viewBox=\"0 0 " +
                    coordinate(width) + " " + coordinate(height) + "\" role=\"img\" aria-labelledby=\"" + title_id +
                    " " + description_id + "\"><title id=\"" + title_id + "\">" + html_of(block, "title") +
                    "</title><desc id=\"" + description_id + "\">" + html_of(block, "description");
  for (const Bar& bar : bars) {
    svg += " " + (bar.group.empty() ? std::string() : escape(bar.group) + ", ") + escape(bar.label) + ": " +
           escape(bar.text) + ".";
  }
  return svg + "</desc>" + grid + body + "</svg>";
}

std::string percent(double share) { return coordinate(std::round(std::clamp(share, 0.0, 1.0) * 10000) / 100) + "%"; }

}  // namespace

std::string render_bar_chart(const Json& block, Ids& ids) {
  const std::vector<Bar> bars = read_bars(block);
  std::string html = "<figure class=\"chart\"><figcaption><b>" + html_of(block, "title") + "</b>";
  if (const std::string description = html_of(block, "description"); !description.empty()) {
    html += " <span>" + description + "</span>";
  }
  html += "</figcaption>";
  if (bars.empty()) return html + "<p class=\"soft\">Nothing was measured.</p></figure>";
  return html + draw_bars(block, bars, true, ids) + draw_bars(block, bars, false, ids) + "</figure>";
}

std::string render_funnel(const Json& block) {
  double most = 1;
  for (const Json& step : block["steps"]) most = std::max(most, step["count"].get<double>());
  std::string html = "<figure class=\"rows funnel\">";
  if (const std::string title = html_of(block, "title"); !title.empty()) {
    html += "<figcaption><b>" + title + "</b></figcaption>";
  }
  html += "<ol>";
  for (const Json& step : block["steps"]) {
    const double count = step["count"].get<double>();
    const bool dropped = flag_of(step, "dropped");
    html += std::string("<li") + (dropped ? " class=\"dropped\"" : "") + "><span class=\"row-name\">" +
            html_of(step, "label") +
            "</span><span class=\"track\"><span class=\"fill\" style=\"width:" + percent(count / most) +
            "\"></span></span><span class=\"row-value\">" + (dropped ? "−" : "") + human_count(std::llround(count)) +
            "</span>";
    if (const std::string note = html_of(step, "note"); !note.empty()) {
      html += "<span class=\"row-note\">" + note + "</span>";
    }
    html += "</li>";
  }
  return html + "</ol></figure>";
}

std::string render_timeline(const Json& block) {
  double total = 0;
  for (const Json& stage : block["stages"]) total += std::max(0.0, stage["seconds"].get<double>());
  std::string html = "<figure class=\"rows timeline\"><ol>";
  double before = 0;
  for (const Json& stage : block["stages"]) {
    const double seconds = std::max(0.0, stage["seconds"].get<double>());
    const double scale = total > 0 ? total : 1;
    html += "<li><span class=\"row-name\">" + html_of(stage, "name") +
            "</span><span class=\"track\"><span class=\"fill\" style=\"margin-left:" + percent(before / scale) +
            ";width:" + percent(seconds / scale) + "\"></span></span><span class=\"row-value\">" +
            escape(human_seconds(seconds)) + "</span>";
    if (const std::string detail = html_of(stage, "detail"); !detail.empty()) {
      html += "<span class=\"row-note\">" + detail + "</span>";
    }
    html += "</li>";
    before += seconds;
  }
  return html + "</ol><p class=\"total\">Together " + escape(human_seconds(total)) + ".</p></figure>";
}

}  // namespace retort::report
