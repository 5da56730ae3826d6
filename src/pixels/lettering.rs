//! Text in pictures (PS3.18 8.3.5.1.1): white letters with a black rim, legible on any background.

use super::Lettering;

/// The height and the greatest width of a glyph.
const HEIGHT: usize = 16;
/// The side of a picture for which glyphs keep their size; larger pictures scale them up.
const LINES_FOR_SIZE: usize = 512;
const MARGIN: usize = 4;
/// Replaces a character that the font lacks.
const UNKNOWN: char = '\u{fffd}';
/// The most letters of a line.
const LONGEST: usize = 256;

/// The pixels of the picture that the lettering is drawn on.
pub(super) struct Canvas<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) channels: usize,
    pub(super) bytes: &'a mut [u8],
}

/// Draws lines at the top and at the bottom. Lines that do not fit are left out.
pub(super) fn write(canvas: &mut Canvas<'_>, lettering: &Lettering) {
    let size = (canvas.width.min(canvas.height) / LINES_FOR_SIZE).max(1);
    let height = HEIGHT * size;
    let fitting = canvas.height.saturating_sub(2 * MARGIN) / height;
    let top = lettering.top.iter().take(fitting);
    for (number, line) in top.enumerate() {
        canvas.line(line, MARGIN + number * height, size);
    }
    // Lines at the top take precedence.
    let left = fitting.saturating_sub(lettering.top.len());
    let bottom = lettering.bottom.iter().rev().take(left);
    for (number, line) in bottom.enumerate() {
        canvas.line(line, canvas.height - MARGIN - (number + 1) * height, size);
    }
}

impl Canvas<'_> {
    fn line(&mut self, line: &str, top: usize, size: usize) {
        let mut dots = Vec::new();
        let mut left = MARGIN;
        for letter in line.chars().take(LONGEST) {
            let glyph = unifont::get_glyph(letter).or_else(|| unifont::get_glyph(UNKNOWN));
            let Some(glyph) = glyph else { continue };
            let across = glyph.get_width();
            if left + across * size + MARGIN > self.width {
                break;
            }
            for y in 0..HEIGHT {
                let lit = (0..across).filter(|&x| glyph.get_pixel(x, y));
                dots.extend(lit.map(|x| (left + x * size, top + y * size)));
            }
            left += across * size;
        }
        for &(x, y) in &dots {
            self.fill(x - size, y - size, 3 * size, 0);
        }
        for &(x, y) in &dots {
            self.fill(x, y, size, u8::MAX);
        }
    }

    /// Fills a square, clipped to the canvas.
    fn fill(&mut self, left: usize, top: usize, side: usize, level: u8) {
        let right = (left + side).min(self.width);
        for y in top..(top + side).min(self.height) {
            let at = |x| (y * self.width + x) * self.channels;
            if let Some(pixels) = self.bytes.get_mut(at(left)..at(right)) {
                pixels.fill(level);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(width: usize, height: usize, channels: usize, lettering: &Lettering) -> Vec<u8> {
        let mut bytes = vec![128; width * height * channels];
        let mut canvas = Canvas {
            width,
            height,
            channels,
            bytes: &mut bytes,
        };
        write(&mut canvas, lettering);
        bytes
    }

    fn lines(top: &[&str], bottom: &[&str]) -> Lettering {
        let owned = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
        Lettering {
            top: owned(top),
            bottom: owned(bottom),
        }
    }

    #[test]
    fn letters_are_white_with_a_black_rim() {
        let picture = written(64, 64, 1, &lines(&["I"], &[]));
        let count = |level| picture.iter().filter(|&&byte| byte == level).count();
        assert!(count(255) > 10);
        assert!(count(0) > count(255));
        let lower_half = &picture[64 * 32..];
        assert!(lower_half.iter().all(|&byte| byte == 128));
        // The same in colour.
        let colour = written(64, 64, 3, &lines(&["I"], &[]));
        let reds: Vec<u8> = colour.iter().step_by(3).copied().collect();
        assert_eq!(reds, picture);
    }

    #[test]
    fn names_of_every_script_have_letters_of_their_own() {
        let unknown = written(64, 24, 1, &lines(&["\u{fffd}"], &[]));
        for letter in ["A", "é", "ř", "Ż", "Ω", "Ж", "א", "ع", "山", "ア", "김"] {
            let picture = written(64, 24, 1, &lines(&[letter], &[]));
            assert_ne!(picture, unknown, "{letter}");
            assert!(picture.contains(&255), "{letter}");
        }
    }

    #[test]
    fn nothing_is_drawn_outside_the_canvas_at_any_size() {
        let long = "W".repeat(1000);
        let lettering = lines(&[&long, "", &long], &[&long, "\u{10ffff}"]);
        for (width, height) in [(1, 1), (7, 300), (300, 7), (16, 23), (17, 24), (1100, 1100)] {
            let picture = written(width, height, 1, &lettering);
            assert_eq!(picture.len(), width * height);
        }
        assert_eq!(written(7, 7, 1, &lettering), [128; 49]);
        // Larger pictures have larger letters.
        let white = |side| {
            let picture = written(side, side, 1, &lines(&["I"], &[]));
            picture.iter().filter(|&&byte| byte == 255).count()
        };
        assert_eq!(white(1024), 4 * white(512));
    }
}
