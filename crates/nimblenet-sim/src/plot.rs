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

/// How high the legend above a plot is, in pixels.
pub const LEGEND_PX: u32 = 22;

const FONT: &str = "sans-serif";
/// The radius of a disc that has room.
const DISC_PX: i32 = 4;
/// What is between two names on an axis, at least.
const LABEL_GAP_PX: u32 = 8;
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
    /// A line through points; one alone is a disc.
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
    /// Discs with a text beside each, as far as there is room.
    Points {
        /// Their name in the legend.
        name: Option<String>,
        /// Their colour.
        colour: Colour,
        /// Where they are, and the text.
        points: Vec<(f64, f64, String)>,
    },
    /// A vertical dashed line with a text beside it.
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
    /// From 0 to somewhat above the largest of some values.
    pub fn up_to(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let largest = values.fold(0.0, f64::max);
        let largest = if largest > 0.0 { largest } else { 1.0 };
        Self::over(label, 0.0..largest * 1.08)
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

    /// How many ticks it has at most; so many pixels are along it.
    fn ticks(&self, room: usize, pixels: u32) -> usize {
        let names = self.names.len();
        let text: u32 = self
            .names
            .iter()
            .map(|name| width(name) + LABEL_GAP_PX)
            .sum();
        match names > 0 && text <= pixels {
            true => names + 1,
            false => room,
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
        let title = (FONT, 16).into_font().color(&INK);
        let area = area.margin(6, 0, 0, 0).titled(&self.title, title)?;
        let area = match self.layers.iter().any(|layer| layer.name().is_some()) {
            true => {
                let (legend, rest) = area.split_vertically(LEGEND_PX);
                self.legend(&legend)?;
                rest
            }
            false => area,
        };
        let longest = self
            .y
            .names
            .iter()
            .map(|name| width(name))
            .max()
            .unwrap_or(0);
        let left = 58 + longest.saturating_sub(LABEL_GAP_PX);
        let mut context = ChartBuilder::on(&area)
            .margin(10)
            .margin_right(18)
            .x_label_area_size(44)
            .y_label_area_size(left)
            .build_cartesian_2d(self.x.range.clone(), self.y.range.clone())?;
        let (pixels, _) = context.plotting_area().dim_in_pixel();
        let rows = match self.y.names.len() {
            0 => 8,
            names => names + 1,
        };
        context
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GREY_LINE)
            .x_labels(self.x.ticks(8, pixels))
            .y_labels(rows)
            .x_label_formatter(&|value| self.x.tick(*value))
            .y_label_formatter(&|value| self.y.tick(*value))
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .label_style((FONT, 12).into_font().color(&INK))
            .axis_desc_style((FONT, 13).into_font().color(&INK))
            .draw()?;
        for layer in &self.layers {
            layer.draw(&mut context, (&self.x.range, self.y.range.end))?;
        }
        Ok(())
    }

    /// What the colours mean, in a line above everything that is drawn.
    fn legend<'a>(&self, area: &Area<'a>) -> Drawn<'a> {
        let mut x = 58 + 10;
        let y = LEGEND_PX as i32 / 2;
        let beside = Pos::new(HPos::Left, VPos::Center);
        let font = (FONT, 12).into_font().color(&INK).pos(beside);
        for layer in &self.layers {
            let Some(name) = layer.name() else {
                continue;
            };
            layer.sample(area, (x, y))?;
            area.draw(&Text::new(name.to_owned(), (x + 24, y), font.clone()))?;
            x += 24 + width(name) as i32 + 20;
        }
        Ok(())
    }
}

/// Pixels that a text needs along its line, about.
fn width(text: &str) -> u32 {
    7 * text.chars().count() as u32
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

    /// What the legend shows of it.
    fn sample<'a>(&self, area: &Area<'a>, (x, y): (i32, i32)) -> Drawn<'a> {
        match self {
            Self::Line { colour, width, .. } => {
                let style = ink(*colour).stroke_width(*width);
                area.draw(&PathElement::new([(x, y), (x + 18, y)], style))
            }
            Self::Boxes { colour, .. } => {
                let corners = [(x + 2, y - 5), (x + 16, y + 5)];
                area.draw(&Rectangle::new(corners, ink(*colour).filled()))
            }
            Self::Points { colour, .. } => {
                area.draw(&Circle::new((x + 9, y), DISC_PX, ink(*colour).filled()))
            }
            Self::Mark { .. } => Ok(()),
        }
    }

    /// Draws it, where the axes have these ranges.
    fn draw<'a>(&self, context: &mut Context<'a>, (x, top): (&Range<f64>, f64)) -> Drawn<'a> {
        match self {
            Self::Line {
                colour,
                width,
                points,
                ..
            } => {
                let style = ink(*colour).stroke_width(*width);
                match points[..] {
                    [point] => {
                        let disc = Circle::new(point, *width + 1, ink(*colour).filled());
                        context.draw_series([disc])?;
                    }
                    _ => {
                        context.draw_series(LineSeries::new(points.iter().copied(), style))?;
                    }
                }
            }
            Self::Boxes {
                colour, corners, ..
            } => {
                let style = ink(*colour).filled();
                let boxes = corners.iter();
                context.draw_series(boxes.map(|corners| Rectangle::new(*corners, style)))?;
            }
            Self::Points { colour, points, .. } => {
                let places = points
                    .iter()
                    .map(|(x, y, _)| context.backend_coord(&(*x, *y)));
                let places: Vec<(i32, i32)> = places.collect();
                let (radius, style) = (radius(&places), ink(*colour).filled());
                let discs = points
                    .iter()
                    .map(|(x, y, _)| Circle::new((*x, *y), radius, style));
                context.draw_series(discs)?;
                let within = context.plotting_area().get_pixel_range();
                let font = (FONT, 12).into_font().color(&INK);
                let texts = points.iter().map(|(.., text)| &text[..]);
                let shifts = beside(&places, texts, &within);
                let shown = points
                    .iter()
                    .zip(shifts)
                    .filter_map(|((x, y, text), shift)| {
                        let text = Text::new(text.clone(), shift?, font.clone());
                        Some(EmptyElement::at((*x, *y)) + text)
                    });
                context.draw_series(shown)?;
            }
            Self::Mark {
                x: at,
                height,
                text,
            } => {
                let line = [(*at, 0.0), (*at, top)];
                let dashes = DashedLineSeries::new(line, 4, 4, INK.stroke_width(1));
                context.draw_series(dashes)?;
                // It has room on the side where the axis is longer.
                let is_left = *at - x.start > x.end - *at;
                let (side, shift) = match is_left {
                    true => (HPos::Right, -6),
                    false => (HPos::Left, 6),
                };
                let beside = Pos::new(side, VPos::Top);
                let font = (FONT, 12).into_font().color(&INK).pos(beside);
                let text = Text::new(text.clone(), (shift, 4), font);
                context.draw_series([EmptyElement::at((*at, top * height)) + text])?;
            }
        }
        Ok(())
    }
}

fn ink((red, green, blue): Colour) -> RGBColor {
    RGBColor(red, green, blue)
}

/// How large discs may be that they do not lie on each other.
fn radius(places: &[(i32, i32)]) -> i32 {
    let pairs = places.iter().enumerate().flat_map(|(at, a)| {
        let others = places[at + 1..].iter();
        others.map(move |b| i64::from(a.0 - b.0).pow(2) + i64::from(a.1 - b.1).pow(2))
    });
    let nearest = pairs.filter(|square| *square > 0).min();
    let apart = nearest.map_or(i32::MAX, |square| square.isqrt() as i32);
    (apart / 3).clamp(1, DISC_PX)
}

/// Where the text of each place stands, from it: beside it, within the plot, and on no other text; none if
/// there is no such room.
fn beside<'t>(
    places: &[(i32, i32)],
    texts: impl Iterator<Item = &'t str>,
    (across, down): &(Range<i32>, Range<i32>),
) -> Vec<Option<(i32, i32)>> {
    let mut taken: Vec<[i32; 4]> = Vec::new();
    let shifts = places.iter().zip(texts).map(|((x, y), text)| {
        let (wide, high) = (width(text) as i32, 12);
        let shifts = [(7, -14), (-7 - wide, -14), (7, 2), (-7 - wide, 2)];
        let shift = shifts
            .into_iter()
            .filter(|_| !text.is_empty())
            .find(|(right, lower)| {
                let (left, upper) = (x + right, y + lower);
                let is_within = across.start <= left
                    && left + wide <= across.end
                    && down.start <= upper
                    && upper + high <= down.end;
                let is_free = taken.iter().all(|[l, u, r, d]| {
                    left + wide <= *l || *r <= left || upper + high <= *u || *d <= upper
                });
                is_within && is_free
            })?;
        let (left, upper) = (x + shift.0, y + shift.1);
        taken.push([left, upper, left + wide, upper + high]);
        Some(shift)
    });
    shifts.collect()
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
