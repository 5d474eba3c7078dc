#include <algorithm>
#include <cmath>
#include <vector>

#include "report/blocks.h"
#include "report/html.h"
#include "report/scale.h"

namespace retort::report {

namespace {

struct Point {
  double x = 0;
  double y = 0;  // NaN: a gap
};

struct Series {
  std::string name;
  std::string css;
  std::vector<Point> points;
  bool dashed = false;
  bool faint = false;
  bool dots = false;
};

struct Level {
  double value = 0;
  std::string label;
};

struct Chart {
  std::string title, description, x_label, y_label;
  std::vector<Series> series;
  std::vector<Level> levels;
  bool x_log = false, y_log = false, y_from_zero = false;
};

// A curve drawn 700 units wide shows no more than this many points: of each bucket its lowest and highest are kept.
constexpr std::size_t kMostPoints = 700;

std::vector<Point> thinned(std::vector<Point> points) {
  if (points.size() <= kMostPoints) return points;
  std::vector<Point> kept;
  const std::size_t buckets = kMostPoints / 2;
  for (std::size_t b = 0; b < buckets; ++b) {
    const auto begin = points.begin() + static_cast<std::ptrdiff_t>(b * points.size() / buckets);
    const auto end = points.begin() + static_cast<std::ptrdiff_t>((b + 1) * points.size() / buckets);
    const auto [low, high] = std::minmax_element(begin, end, [](const Point& a, const Point& c) { return a.y < c.y; });
    kept.push_back(std::min(low, high)[0]);
    if (low != high) kept.push_back(std::max(low, high)[0]);
  }
  return kept;
}

Chart read_chart(const Json& block) {
  Chart chart;
  chart.title = text_of(block, "title");
  chart.description = text_of(block, "description");
  chart.x_label = text_of(block, "x_label");
  chart.y_label = text_of(block, "y_label");
  chart.x_log = text_of(block, "x_scale") == "log";
  chart.y_log = text_of(block, "y_scale") == "log";
  chart.y_from_zero = flag_of(block, "y_from_zero");
  std::size_t index = 0;
  for (const Json& entry : block["series"]) {
    Series series;
    series.name = text_of(entry, "name");
    series.css = role_class(entry, index++);
    series.dashed = flag_of(entry, "dashed");
    series.faint = flag_of(entry, "faint");
    series.dots = flag_of(entry, "dots");
    for (const Json& point : entry["points"]) {
      series.points.push_back({point[0].get<double>(), point[1].is_null() ? std::nan("") : point[1].get<double>()});
    }
    series.points = thinned(std::move(series.points));
    chart.series.push_back(std::move(series));
  }
  if (const auto levels = block.find("levels"); levels != block.end() && levels->is_array()) {
    for (const Json& entry : *levels) chart.levels.push_back({entry["value"].get<double>(), text_of(entry, "label")});
  }
  return chart;
}

struct Range {
  double low = 0;
  double high = 1;
  bool empty = true;
  void include(double value, bool logarithmic) {
    if (!std::isfinite(value) || (logarithmic && value <= 0)) return;
    low = empty ? value : std::min(low, value);
    high = empty ? value : std::max(high, value);
    empty = false;
  }
};

struct Frame {
  double width, height, left, right, top, bottom;
  double plot_width() const { return width - left - right; }
  double plot_height() const { return height - top - bottom; }
};

// Labels at the ends of the curves, pushed apart so that none covers another.
struct EndLabel {
  double y = 0;
  const Series* series = nullptr;
};

void push_apart(std::vector<EndLabel>& labels, double low, double high, double gap) {
  std::sort(labels.begin(), labels.end(), [](const EndLabel& a, const EndLabel& b) { return a.y < b.y; });
  for (std::size_t i = 1; i < labels.size(); ++i) labels[i].y = std::max(labels[i].y, labels[i - 1].y + gap);
  if (!labels.empty() && labels.back().y > high) {
    labels.back().y = high;
    for (std::size_t i = labels.size() - 1; i > 0; --i) labels[i - 1].y = std::min(labels[i - 1].y, labels[i].y - gap);
  }
  for (EndLabel& label : labels) label.y = std::max(label.y, low);
}

std::string text_element(double x, double y, const char* css, const char* anchor, const std::string& text) {
  return "<text x=\"" + coordinate(x) + "\" y=\"" + coordinate(y) + "\" class=\"" + css + "\" text-anchor=\"" + anchor +
         "\">" + escape(text) + "</text>";
}

std::string line_element(double x1, double y1, double x2, double y2, const std::string& css) {
  return "<line x1=\"" + coordinate(x1) + "\" y1=\"" + coordinate(y1) + "\" x2=\"" + coordinate(x2) + "\" y2=\"" +
         coordinate(y2) + "\" class=\"" + css + "\"/>";
}

std::string curve(const Series& series, const Frame& frame, const Scale& x, const Scale& y) {
  std::string path;
  std::string marks;
  bool drawing = false;
  for (const Point& point : series.points) {
    if (!std::isfinite(point.y)) {
      drawing = false;
      continue;
    }
    const double px = frame.left + x.share(point.x) * frame.plot_width();
    const double py = frame.top + (1 - std::clamp(y.share(point.y), 0.0, 1.0)) * frame.plot_height();
    path += (drawing ? "L" : "M") + coordinate(px) + " " + coordinate(py);
    drawing = true;
    if (series.dots) {
      marks += "<circle cx=\"" + coordinate(px) + "\" cy=\"" + coordinate(py) + "\" r=\"3.2\"><title>" +
               escape(series.name) + ": " + number_text(point.y) + " at " + number_text(point.x) + "</title></circle>";
    }
  }
  std::string css = "curve " + series.css;
  if (series.dashed) css += " dashed";
  if (series.faint) css += " faint";
  std::string html = "<g class=\"" + css + "\"><path d=\"" + path + "\"/>";
  return html + marks + "</g>";
}

std::string draw(const Chart& chart, bool wide, Ids& ids) {
  Range x_range;
  Range y_range;
  for (const Series& series : chart.series) {
    for (const Point& point : series.points) {
      x_range.include(point.x, chart.x_log);
      y_range.include(point.y, chart.y_log);
    }
  }
  for (const Level& level : chart.levels) y_range.include(level.value, chart.y_log);
  Frame frame = wide ? Frame{760, 330, 0, 14, 30, 44} : Frame{360, 280, 0, 12, 30, 44};
  const Scale x = Scale::fit_tightly(x_range.low, x_range.high, chart.x_log, wide ? 7 : 4);
  const Scale y = Scale::fit(y_range.low, y_range.high, chart.y_log, chart.y_from_zero, 5);
  std::size_t widest = 0;
  for (const Tick& tick : y.ticks()) widest = std::max(widest, tick.label.size());
  frame.left = 14 + 7.2 * static_cast<double>(widest);

  std::vector<EndLabel> labels;
  if (wide && chart.series.size() > 1) {
    std::size_t longest = 0;
    for (const Series& series : chart.series) {
      if (series.faint || series.points.empty() || !std::isfinite(series.points.back().y)) continue;
      labels.push_back({frame.top + (1 - y.share(series.points.back().y)) * frame.plot_height() + 4, &series});
      longest = std::max(longest, series.name.size());
    }
    frame.right = 18 + std::min(170.0, 7.0 * static_cast<double>(longest));
  }

  const std::string title_id = ids.next("t");
  const std::string description_id = ids.next("d");
  std::string svg = "<svg class=\"plot " + std::string(wide ? "wide" : "narrow") + "\" viewBox=\"0 0 " +
                    coordinate(frame.width) + " " + coordinate(frame.height) + "\" role=\"img\" aria-labelledby=\"" +
                    title_id + " " + description_id + "\"><title id=\"" + title_id + "\">" + escape(chart.title) +
                    "</title><desc id=\"" + description_id + "\">" + escape(chart.description) + " " +
                    escape(chart.y_label) + " over " + escape(chart.x_label) + ".";
  for (const Series& series : chart.series) {
    if (series.points.empty()) continue;
    svg += " " + escape(series.name) + ": from " + number_text(series.points.front().y) + " to " +
           number_text(series.points.back().y) + ".";
  }
  svg += "</desc>";

  const double plot_bottom = frame.top + frame.plot_height();
  const double plot_right = frame.left + frame.plot_width();
  for (const Tick& tick : y.ticks()) {
    const double at = frame.top + (1 - y.share(tick.value)) * frame.plot_height();
    svg += line_element(frame.left, at, plot_right, at, "grid");
    svg += text_element(frame.left - 7, at + 4, "tick", "end", tick.label);
  }
  for (const Tick& tick : x.ticks()) {
    const double at = frame.left + x.share(tick.value) * frame.plot_width();
    svg += line_element(at, plot_bottom, at, plot_bottom + 4, "axis");
    svg += text_element(at, plot_bottom + 18, "tick", "middle", tick.label);
  }
  svg += line_element(frame.left, plot_bottom, plot_right, plot_bottom, "axis");
  svg += text_element((frame.left + plot_right) / 2, frame.height - 5, "label", "middle", chart.x_label);
  svg += text_element(2, 12, "label", "start", chart.y_label);
  for (const Level& level : chart.levels) {
    const double at = frame.top + (1 - y.share(level.value)) * frame.plot_height();
    svg += line_element(frame.left, at, plot_right, at, "level");
    svg += text_element(plot_right - 4, at - 5, "tick", "end", level.label);
  }
  for (const Series& series : chart.series) svg += curve(series, frame, x, y);
  push_apart(labels, frame.top + 4, plot_bottom, 16);
  for (const EndLabel& label : labels) {
    svg += text_element(plot_right + 8, label.y, ("name " + label.series->css).c_str(), "start", label.series->name);
  }
  return svg + "</svg>";
}

std::string legend(const Chart& chart) {
  std::string html = "<ul class=\"legend\">";
  for (const Series& series : chart.series) {
    html += "<li class=\"" + series.css + (series.dashed ? " dashed" : "") + (series.faint ? " faint" : "") +
            "\"><span class=\"swatch\"></span>" + escape(series.name) + "</li>";
  }
  return html + "</ul>";
}

}  // namespace

std::string render_line_chart(const Json& block, Ids& ids) {
  const Chart chart = read_chart(block);
  bool any = false;
  for (const Series& series : chart.series) any = any || !series.points.empty();
  const bool small = flag_of(block, "small");
  std::string html = "<figure class=\"chart";
  html += small ? " small\"><figcaption><b>" : "\"><figcaption><b>";
  html += escape(chart.title) + "</b>";
  if (!chart.description.empty()) html += " <span>" + escape(chart.description) + "</span>";
  html += "</figcaption>";
  if (!any) return html + "<p class=\"soft\">Nothing was recorded.</p></figure>";
  if (chart.series.size() > 1) html += legend(chart);
  if (!small) html += draw(chart, true, ids);
  return html + draw(chart, false, ids) + "</figure>";
}

}  // namespace retort::report
