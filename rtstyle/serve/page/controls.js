// What each command does to the settings, as rtstyle/live/controls.py has it for the host. Used
// before a visit, and for pictures that are painted in this browser.

export const INITIAL = {
  style: null, partner: null, blend: 0, strength: 1, color: false, split: null, mirror: false, pause: false,
  cutout: false, // people alone, where this browser paints
};

const share = (text, now) => {
  const value = Number(text) + (/^[+-]/.test(text) ? now : 0);
  return Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : now;
};
const toggled = (text, now) => (text === "" ? !now : text === "on");

export function changed(now, gallery, command) {
  const [name, ...words] = command.split(" ");
  const rest = words.join(" ");
  const row = gallery.find((one) => one.name === rest);
  const mine = gallery.find((one) => one.name === now.style);
  switch (name) {
    case "style": {
      if (!row) return now;
      const partner = gallery.find((one) => one.name === now.partner);
      return partner?.family === row.family
        ? { ...now, style: rest } : { ...now, style: rest, partner: null, blend: 0 };
    }
    case "with": return row && row.family === mine?.family ? { ...now, partner: rest } : now;
    case "blend": {
      const first = gallery.find((one) => one.family === mine?.family && one !== mine);
      return { ...now, blend: share(rest, now.blend), partner: now.partner ?? first?.name ?? null };
    }
    case "strength": return { ...now, strength: share(rest, now.strength) };
    case "split":
      if (rest && rest !== "on" && rest !== "off") return { ...now, split: share(rest, now.split ?? 0) };
      return { ...now, split: toggled(rest, now.split !== null) ? 0.5 : null };
    case "color": case "mirror": case "pause": case "cutout": return { ...now, [name]: toggled(rest, now[name]) };
    default: return now;
  }
}

// The commands that lead from what a visit begins with to `wanted`.
export function commandsFor(wanted, gallery) {
  const known = (name) => gallery.some((row) => row.name === name);
  const commands = [];
  if (known(wanted.style)) commands.push(`style ${wanted.style}`);
  if (known(wanted.partner) && wanted.blend > 0) commands.push(`with ${wanted.partner}`, `blend ${wanted.blend}`);
  commands.push(`strength ${wanted.strength}`);
  for (const name of ["color", "mirror"]) commands.push(`${name} ${wanted[name] ? "on" : "off"}`);
  if (wanted.split !== null) commands.push(`split ${wanted.split}`);
  return commands;
}
