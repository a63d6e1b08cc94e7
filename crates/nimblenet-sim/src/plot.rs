//! Charts as SVG: axes with units and ticks, lines, boxes, points, marks and a legend.

use core::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A colour by its shares of red, green and blue.
pub type Colour = (u8, u8, u8);

/// Blue, for what is compared with something else.
pub const BLUE: Colour = (31, 104, 170);
/// Orange, for that other thing.
pub const ORANGE: Colour = (217, 95, 14);
/// Green, for a third thing.
pub const GREEN: Colour = (60, 145, 70);
/// Grey, for what is in the background.
pub const GREY: Colour = (150, 150, 150);

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(50, 50, 50);
const GRID: RGBColor = RGBColor(228, 228, 228);

/// A diagram with two axes.
#[derive(Clone, PartialEq, Debug)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Along the page.
    pub x: Axis,
    /// Up the page.
    pub y: Axis,
    /// What is drawn, the first below the others.
    pub layers: Vec<Layer>,
}

/// An axis.
#[derive(Clone, PartialEq, Debug)]
pub struct Axis {
    /// What it means, with its unit.
    pub label: String,
    /// Its first and last value.
    pub range: Range<f64>,
    /// Names that stand at 0, 1, 2 and so on instead of numbers.
    pub names: Vec<String>,
}

/// Something drawn in a chart.
#[derive(Clone, PartialEq, Debug)]
pub enum Layer {
    /// A line through points.
    Line {
        /// Its name in the legend; none if it is not there.
        name: Option<String>,
        /// Its colour.
        colour: Colour,
        /// How wide it is, in pixels.
        width: u32,
        /// The points.
        points: Vec<(f64, f64)>,
    },
    /// Filled boxes between two corners each.
    Boxes {
        /// Their name in the legend.
        name: Option<String>,
        /// Their colour.
        colour: Colour,
        /// The corners.
        corners: Vec<[(f64, f64); 2]>,
    },
    /// Discs with a text beside each.
    Points {
        /// Their name in the legend.
        name: Option<String>,
        /// Their colour.
        colour: Colour,
        /// Where they are, and the text.
        points: Vec<(f64, f64, String)>,
    },
    /// A vertical dashed line with a text at its right.
    Mark {
        /// Where it stands.
        x: f64,
        /// How high the text is, as a share of the axis.
        height: f64,
        /// The text.
        text: String,
    },
}

impl Axis {
    /// From 0 to somewhat above the largest of some values, so that there is room for a legend.
    pub fn up_to(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let largest = values.fold(0.0, f64::max);
        let largest = if largest > 0.0 { largest } else { 1.0 };
        Self::over(label, 0.0..largest * 1.15)
    }

    /// From one value to another.
    pub fn over(label: &str, range: Range<f64>) -> Self {
        Self {
            label: label.to_owned(),
            range,
            names: Vec::new(),
        }
    }

    /// With a name at each whole number from 0.
    pub fn of(label: &str, names: Vec<String>) -> Self {
        Self {
            label: label.to_owned(),
            range: -0.6..names.len() as f64 - 0.4,
            names,
        }
    }

    /// How many ticks it has at most.
    fn ticks(&self, room: usize) -> usize {
        match self.names.len() {
            0 => room,
            names => names + 1,
        }
    }

    fn tick(&self, value: f64) -> String {
        if self.names.is_empty() {
            return number(value);
        }
        let nearest = value.round();
        let is_whole = (value - nearest).abs() < 1e-6 && nearest >= 0.0;
        let name = self.names.get(nearest as usize).filter(|_| is_whole);
        name.cloned().unwrap_or_default()
    }
}

/// A number without digits that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

/// Draws charts beside each other.
pub fn svg(charts: &[Chart], (width, height): (u32, u32)) -> String {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        let areas = root.split_evenly((1, charts.len().max(1)));
        let drawn = root.fill(&WHITE).and_then(|()| {
            let mut pairs = charts.iter().zip(&areas);
            pairs.try_for_each(|(chart, area)| chart.draw(area))
        });
        drawn
            .and_then(|()| root.present())
            .expect("a string takes everything");
    }
    text
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Context<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

impl Chart {
    fn draw<'a>(&self, area: &Area<'a>) -> Drawn<'a> {
        let longest = self.y.names.iter().map(String::len).max().unwrap_or(0);
        let mut context = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 16).into_font().color(&INK))
            .margin(10)
            .margin_right(18)
            .x_label_area_size(44)
            .y_label_area_size(58 + 6 * longest as u32)
            .build_cartesian_2d(self.x.range.clone(), self.y.range.clone())?;
        context
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GREY_LINE)
            .x_labels(self.x.ticks(8))
            .y_labels(self.y.ticks(8))
            .x_label_formatter(&|value| self.x.tick(*value))
            .y_label_formatter(&|value| self.y.tick(*value))
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .label_style((FONT, 12).into_font().color(&INK))
            .axis_desc_style((FONT, 13).into_font().color(&INK))
            .draw()?;
        for layer in &self.layers {
            layer.draw(&mut context, self.y.range.end)?;
        }
        if self.layers.iter().any(|layer| layer.name().is_some()) {
            context
                .configure_series_labels()
                .position(self.legend())
                .margin(8)
                .background_style(WHITE.mix(0.85))
                .border_style(GRID)
                .label_font((FONT, 12).into_font().color(&INK))
                .draw()?;
        }
        Ok(())
    }

    /// The corner with the fewest points.
    fn legend(&self) -> SeriesLabelPosition {
        let middle = |range: &Range<f64>| (range.start + range.end) / 2.0;
        let (x, y) = (middle(&self.x.range), middle(&self.y.range));
        let corners = [
            (SeriesLabelPosition::UpperRight, true, true),
            (SeriesLabelPosition::UpperLeft, false, true),
            (SeriesLabelPosition::LowerRight, true, false),
            (SeriesLabelPosition::LowerLeft, false, false),
        ];
        let crowd = |right, upper| {
            let points = self.layers.iter().flat_map(Layer::points);
            let there = points.filter(|at| (at.0 > x) == right && (at.1 > y) == upper);
            there.count()
        };
        let emptiest = corners
            .into_iter()
            .min_by_key(|(_, right, upper)| crowd(*right, *upper));
        emptiest.map_or(SeriesLabelPosition::UpperRight, |(corner, ..)| corner)
    }
}

const GREY_LINE: RGBColor = RGBColor(GREY.0, GREY.1, GREY.2);

impl Layer {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Line { name, .. } | Self::Boxes { name, .. } | Self::Points { name, .. } => {
                name.as_deref()
            }
            Self::Mark { .. } => None,
        }
    }

    fn points(&self) -> Vec<(f64, f64)> {
        match self {
            Self::Line { points, .. } => points.clone(),
            Self::Boxes { corners, .. } => corners.iter().map(|[_, far]| *far).collect(),
            Self::Points { points, .. } => points.iter().map(|(x, y, _)| (*x, *y)).collect(),
            Self::Mark { .. } => Vec::new(),
        }
    }

    fn draw<'a>(&self, context: &mut Context<'a>, top: f64) -> Drawn<'a> {
        match self {
            Self::Line {
                name,
                colour: (red, green, blue),
                width,
                points,
            } => {
                let style = RGBColor(*red, *green, *blue).stroke_width(*width);
                let series = LineSeries::new(points.iter().copied(), style);
                let drawn = context.draw_series(series)?;
                if let Some(name) = name {
                    let sample = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style);
                    drawn.label(name).legend(sample);
                }
            }
            Self::Boxes {
                name,
                colour: (red, green, blue),
                corners,
            } => {
                let style = RGBColor(*red, *green, *blue).filled();
                let series = corners
                    .iter()
                    .map(|corners| Rectangle::new(*corners, style));
                let drawn = context.draw_series(series)?;
                if let Some(name) = name {
                    let sample =
                        move |(x, y)| Rectangle::new([(x + 2, y - 5), (x + 16, y + 5)], style);
                    drawn.label(name).legend(sample);
                }
            }
            Self::Points {
                name,
                colour: (red, green, blue),
                points,
            } => {
                let style = RGBColor(*red, *green, *blue).filled();
                let discs = points
                    .iter()
                    .map(|(x, y, _)| Circle::new((*x, *y), 4, style));
                let drawn = context.draw_series(discs)?;
                if let Some(name) = name {
                    drawn
                        .label(name)
                        .legend(move |(x, y)| Circle::new((x + 9, y), 4, style));
                }
                let font = (FONT, 12).into_font().color(&INK);
                let texts = points.iter().filter(|(.., text)| !text.is_empty());
                context.draw_series(texts.map(|(x, y, text)| {
                    EmptyElement::at((*x, *y)) + Text::new(text.clone(), (7, -14), font.clone())
                }))?;
            }
            Self::Mark { x, height, text } => {
                let line = [(*x, 0.0), (*x, top)];
                let dashes = DashedLineSeries::new(line, 4, 4, INK.stroke_width(1));
                context.draw_series(dashes)?;
                let beside = Pos::new(HPos::Left, VPos::Top);
                let font = (FONT, 12).into_font().color(&INK).pos(beside);
                let text = Text::new(text.clone(), (6, 4), font);
                context.draw_series([EmptyElement::at((*x, top * height)) + text])?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_texts_and_no_more_digits_than_needed() {
        let chart = Chart {
            title: "Bytes & seconds".to_owned(),
            x: Axis::over("time, s", 0.0..100.0),
            y: Axis::up_to("sent, kB", [0.3, 0.5].into_iter()),
            layers: vec![
                Layer::Line {
                    name: Some("nimble".to_owned()),
                    colour: BLUE,
                    width: 2,
                    points: vec![(0.0, 0.1), (100.0, 0.5)],
                },
                Layer::Mark {
                    x: 30.0,
                    height: 1.0,
                    text: "30 s".to_owned(),
                },
            ],
        };
        let svg = svg(&[chart.clone(), chart], (800, 300));
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in [
            "Bytes &amp; seconds",
            "time, s",
            "sent, kB",
            "nimble",
            "30 s",
        ] {
            assert_eq!(svg.matches(text).count(), 2, "{text}");
        }
        assert_eq!([0.1 + 0.2, 1500.0, -0.0].map(number), ["0.3", "1500", "0"]);
    }

    #[test]
    fn named_ticks_stand_at_whole_numbers_only() {
        let axis = Axis::of("cache, B", vec!["8192".to_owned(), "16384".to_owned()]);
        let ticks = [-0.5, 0.0, 0.5, 1.0, 2.0].map(|at| axis.tick(at));
        assert_eq!(ticks, ["", "8192", "", "16384", ""]);
    }
}
