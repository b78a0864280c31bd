// Publishers that are no browsers: FFmpeg and GStreamer, as frame sources for the delivery measurement.
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { run, sleep, until } from './process.mjs';
import { Missing } from './scenario.mjs';

/** @typedef {import('./scenario.mjs').Context} Context */

const START_TIMEOUT_MS = 15_000;
/** Time for the last frames to arrive, in milliseconds. */
const SETTLE_MS = 600;

/** The Python that has aiortc and FFmpeg. @param {Context} t @returns {Promise<string>} */
export async function venvPython(t) {
  const python = join(t.testsDir, '.venv', 'bin', 'python');
  await access(python).catch(() => {
    throw new Missing('tests/.venv is not there (tests/setup.sh makes it)');
  });
  return python;
}

export class FfmpegSource {
  /** @param {import('./process.mjs').Child} child */
  constructor(child) {
    this.child = child;
    this.frames = 0;
    child.readers.push((line) => {
      const match = /^frame=(\d+)/.exec(line);
      if (match) this.frames = Number(match[1]);
    });
  }

  /** Publishes H264 and Opus by FFmpeg's own WHIP muxer. @param {Context} t @param {string} url @param {string} [token] */
  static async open(t, url, token = '') {
    const python = await venvPython(t);
    const ffmpeg = (await run(python, ['-c', 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())'])).trim();
    const video = '-c:v libx264 -profile:v baseline -preset ultrafast -tune zerolatency -bf 0 -g 60 -pix_fmt yuv420p -b:v 800k';
    const args = [
      ...'-hide_banner -nostats -loglevel warning -stats_period 0.05 -progress pipe:1'.split(' '),
      ...'-re -f lavfi -i testsrc2=s=640x360:r=30 -re -f lavfi -i sine=f=440:r=48000'.split(' '),
      ...video.split(' '),
      ...'-c:a libopus -ar 48000 -ac 2 -f whip'.split(' '),
      ...(token === '' ? [] : ['-authorization', token]),
      url,
    ];
    const source = new FfmpegSource(t.child(ffmpeg, args));
    await until('FFmpeg publishes', START_TIMEOUT_MS, () => {
      if (!source.child.alive) throw new Error(`FFmpeg ended: ${source.child.tail()}`);
      return source.frames > 0;
    });
    return source;
  }

  async sent() {
    return this.frames;
  }

  /** `q` makes FFmpeg finish and write its last count. */
  async finish() {
    this.child.write('q');
    await this.child.wait(10_000);
    await sleep(SETTLE_MS);
    return this.frames;
  }
}

export class GstSource {
  /** @param {import('./process.mjs').Child} child */
  constructor(child) {
    this.child = child;
    this.frames = 0;
    this.connected = false;
    child.readers.push((line) => {
      if (!line.startsWith('{')) return;
      const said = JSON.parse(line);
      if (said.frames !== undefined) this.frames = said.frames;
      if (said.connected !== undefined) this.connected = true;
    });
  }

  /** Publishes by GStreamer's webrtcbin. @param {Context} t @param {string} url @param {string} codec */
  static async open(t, url, codec) {
    // Debian's own Python: the bindings of GStreamer are packages of its own.
    const python = '/usr/bin/python3';
    const probe = "import gi; gi.require_version('GstWebRTC','1.0'); from gi.repository import Gst; Gst.init(None); assert Gst.ElementFactory.find('webrtcbin') and Gst.ElementFactory.find('nicesrc')";
    await run(python, ['-c', probe]).catch(() => {
      throw new Missing("GStreamer's webrtcbin, libnice plug-in or Python bindings are not installed (tests/setup.sh installs them)");
    });
    const source = new GstSource(t.child(python, [join(t.testsDir, 'clients', 'gst_whip.py'), url, '--codec', codec]));
    await until('GStreamer publishes', START_TIMEOUT_MS, () => {
      if (!source.child.alive) throw new Error(`it ended: ${source.child.tail()}`);
      return source.connected;
    });
    return source;
  }

  async sent() {
    return this.frames;
  }

  async finish() {
    this.child.write('stop\n');
    await sleep(SETTLE_MS);
    const { frames } = this;
    this.child.write('quit\n');
    return frames;
  }
}
