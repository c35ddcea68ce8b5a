// Lists texts of the page's pictures that overlap, or leave the picture or the frame they are in.
const wrong = [];
let texts = 0;
const room = 1.5;
for (const svg of document.querySelectorAll("svg")) {
  const { width, height } = svg.viewBox.baseVal;
  const boxes = [...svg.querySelectorAll("text")].filter((each) => each.textContent.trim()).map((each) => {
    const size = parseFloat(each.getAttribute("font-size"));
    const bottom = parseFloat(each.getAttribute("y"));
    const { x, width } = each.getBBox();
    return { text: each.textContent, left: x, right: x + width, top: bottom - 0.7 * size, bottom: bottom + 0.15 * size };
  });
  texts += boxes.length;
  for (const one of boxes) {
    if (one.left < -room || one.right > width + room || one.top < -room || one.bottom > height + room)
      wrong.push(`${one.text} leaves the picture`);
    for (const rect of svg.querySelectorAll("rect")) {
      const frame = rect.getBBox();
      const middle = [(one.left + one.right) / 2, (one.top + one.bottom) / 2];
      const inside = middle[0] > frame.x && middle[0] < frame.x + frame.width && middle[1] > frame.y && middle[1] < frame.y + frame.height;
      if (inside && (one.left < frame.x - room || one.right > frame.x + frame.width + room))
        wrong.push(`${one.text} leaves its frame`);
    }
    for (const other of boxes.slice(boxes.indexOf(one) + 1)) {
      const across = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const down = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
      if (across > room && down > room) wrong.push(`${one.text} overlaps ${other.text}`);
    }
  }
}
document.getElementById("found").textContent = JSON.stringify({ texts, wrong: [...new Set(wrong)] });
